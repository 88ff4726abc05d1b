// This clip's numbers beside those of the test set, methods and controls in one table.
import { page } from "../bus.js";

export class Faithfulness {
  constructor(table, source, facts) {
    this.table = table;
    this.source = source;
    this.facts = facts;
  }

  // `rows`: [{ label, method, control, payload, note }]; `domain`: of the masks.
  fill(rows, domain) {
    // They are those of the embedded classifier.
    const set = (page.averages !== false && this.facts.test_set.domains[domain]) || {};
    const best = this.best(rows);
    const body = document.createElement("tbody");
    for (const row of rows) body.append(this.row(row, set[row.method], best));
    this.table.replaceChildren(this.head(), body);
    const counts = rows.map(({ method }) => set[method]?.n).filter(Boolean).sort((a, b) => a - b);
    const ends = [...new Set([counts[0], counts.at(-1)])]; // the slow methods are scored on fewer clips
    this.source.textContent = counts.length
      ? "Large: this sound. Small: the mean over " + ends.join(" to ") + " clips of " + this.facts.test_set.title +
        ", which the models were not trained on."
      : "Numbers of this sound.";
  }

  head() {
    const head = document.createElement("thead");
    const row = head.insertRow();
    const cell = (text, title) => {
      const node = document.createElement("th");
      node.scope = "col";
      node.textContent = text;
      if (title) node.title = title;
      row.append(node);
      return node;
    };
    cell("Method");
    for (const { label, direction, meaning } of this.facts.columns) {
      const node = cell(label + (direction ? " " + direction : ""), meaning);
      if (direction) node.setAttribute("aria-label", label + ", " + (direction === "↑" ? "higher" : "lower") + " is better");
    }
    cell("Time", "How long the explanation took here.");
    return head;
  }

  row({ label, method, control, payload, note }, mean, best) {
    const row = document.createElement("tr");
    row.dataset.method = method;
    row.classList.toggle("lz-control", Boolean(control));
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = label;
    row.append(name);
    const metrics = payload && payload.metrics;
    for (const column of this.facts.columns) {
      const cell = row.insertCell();
      cell.dataset.key = column.key;
      const here = document.createElement("b");
      here.textContent = metrics ? this.here(column, metrics[column.key]) : "–";
      here.classList.toggle("lz-best", !control && Boolean(metrics) && metrics[column.key] === best[column.key]);
      const there = document.createElement("small");
      there.textContent = mean && mean[column.key] !== undefined ? this.write(column, mean[column.key]) : "–";
      cell.append(here, there);
    }
    const time = row.insertCell();
    time.className = "lz-took";
    time.textContent = payload && payload.seconds !== undefined ? payload.seconds.toFixed(1) + " s" : note || "";
    return row;
  }

  here(column, value) {
    if (value === null || value === undefined) return "–";
    return column.yes_or_no ? (value > 0 ? "yes" : "no") : this.write(column, value);
  }

  write({ decimals, unit }, value) {
    const text = Math.abs(value) < 0.5 * 10 ** -decimals ? (0).toFixed(decimals) : value.toFixed(decimals);
    return text.replace("-", "−") + (unit === "%" ? " %" : "");
  }

  // The one best method in each column in which methods are ranked.
  best(rows) {
    const found = {};
    for (const { key, direction, ranked, yes_or_no } of this.facts.columns) {
      if (!direction || !ranked || yes_or_no) continue;
      const values = rows.filter(({ control, payload }) => !control && payload && payload.metrics).map(({ payload }) => payload.metrics[key]);
      const known = values.filter((value) => typeof value === "number");
      const top = direction === "↑" ? Math.max(...known) : Math.min(...known);
      if (known.length > 1 && known.filter((value) => value === top).length === 1) found[key] = top;
    }
    return found;
  }
}
