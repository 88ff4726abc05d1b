// What Gradio gives to a component's script, and what the page's components share.

/** The component's own node. */
declare const element: HTMLElement;
/** The component's properties; `value` is exchanged by the server. */
declare const props: { value: any; facts: any };
/** Tell the server, or a script of events.py, that something happened. */
declare function trigger(event: string, data: object): void;
/** Call `changed` whenever a property was exchanged. */
declare function watch(property: string, changed: () => void): void;

interface Window {
  lmaczs: any;
}
