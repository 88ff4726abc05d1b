watch("value", () => props.value && page.report?.(props.value));
