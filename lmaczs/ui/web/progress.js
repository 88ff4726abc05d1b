import { page } from "./bus.js";

watch("value", () => props.value && page.report?.(props.value));
