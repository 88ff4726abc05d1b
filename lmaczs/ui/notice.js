const line = element.querySelector(".lz-notice");
const page = (window.lmaczs = window.lmaczs || {});
const show = (message) => {
  line.textContent = message;
  line.hidden = !message;
};
(page.empties = page.empties || []).push(() => show(""));
watch("value", () => page.turn && props.value && props.value.turn === page.turn() && show(props.value.message));
