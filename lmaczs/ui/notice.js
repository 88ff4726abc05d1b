const line = element.querySelector(".lz-notice");
const show = (message) => {
  line.textContent = message;
  line.hidden = !message;
  page.refused?.(message);
};
whenEmptied(() => show(""));
watch("value", () => page.turn && props.value && props.value.turn === page.turn() && show(props.value.message));
