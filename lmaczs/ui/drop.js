// A file may be dropped anywhere on the page: it goes the way of a chosen one.
(() => {
  const PATIENCE_MS = 5000;
  const place = () => document.querySelector("#lz-sound");
  const field = () => place()?.querySelector("input[type=file]");
  const press = (label) => place()?.querySelector(`button[aria-label="${label}"]`)?.click();
  const holdsFiles = (event) => Array.from(event.dataTransfer?.types || []).includes("Files");
  const show = (yes) => document.documentElement.classList.toggle("lz-dropping", yes);

  // Gradio has a field for files only where there is no sound: take the old one away first.
  const put = (file, since = performance.now()) => {
    const target = field();
    if (target) {
      const carried = new DataTransfer();
      carried.items.add(file);
      target.files = carried.files;
      target.dispatchEvent(new Event("change", { bubbles: true }));
    } else if (performance.now() - since < PATIENCE_MS) {
      setTimeout(() => put(file, since), 50);
    }
  };

  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    show(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) show(false);
  });
  document.addEventListener("drop", (event) => {
    show(false);
    const file = event.dataTransfer?.files?.[0];
    // On its own field Gradio takes the file itself.
    if (!file || event.defaultPrevented || !place() || (field() && place().contains(event.target))) return;
    event.preventDefault();
    if (!field()) {
      press("Clear");
      press("Upload file");
    }
    put(file);
  });
})();
