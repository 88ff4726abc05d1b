const page = (window.lmaczs = window.lmaczs || {});
watch("value", () => page.report && props.value && page.report(props.value));
