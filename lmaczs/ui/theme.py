"""Calm neutrals; the one warm colour means "this is what counted"."""

from typing import Any

import gradio as gr

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
COLOURS: dict[str, Any] = {
    "body_background_fill": "*neutral_50",
    "body_background_fill_dark": "#131110",
    "background_fill_primary": "white",
    "background_fill_primary_dark": "#1c1917",
    "background_fill_secondary": "*neutral_50",
    "background_fill_secondary_dark": "#191614",
    "body_text_color": "*neutral_900",
    "body_text_color_dark": "*neutral_100",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_400",
    "block_background_fill": "*background_fill_primary",
    "block_background_fill_dark": "*background_fill_primary",
    "block_border_width": "1px",
    "block_border_color": "*neutral_200",
    "block_border_color_dark": "#2e2a27",
    "block_shadow": "none",
    "border_color_primary": "*neutral_200",
    "border_color_primary_dark": "#2e2a27",
    "input_background_fill": "white",
    "input_background_fill_dark": "#191614",
    "input_border_color": "*neutral_300",
    "input_border_color_dark": "#3a3532",
    "input_border_color_focus": "*neutral_500",
    "input_border_color_focus_dark": "*neutral_400",
    "button_primary_background_fill": "*neutral_900",
    "button_primary_background_fill_hover": "*neutral_700",
    "button_primary_background_fill_dark": "*neutral_100",
    "button_primary_background_fill_hover_dark": "white",
    "button_primary_text_color": "white",
    "button_primary_text_color_dark": "*neutral_900",
    "button_primary_border_color": "*neutral_900",
    "button_primary_border_color_dark": "*neutral_100",
    "button_secondary_background_fill": "transparent",
    "button_secondary_background_fill_dark": "transparent",
    "button_secondary_background_fill_hover": "*neutral_100",
    "button_secondary_background_fill_hover_dark": "#2a2522",
    "button_secondary_border_color": "*neutral_300",
    "button_secondary_border_color_dark": "#3a3532",
    "button_secondary_text_color": "*neutral_700",
    "button_secondary_text_color_dark": "*neutral_200",
    "loader_color": "*primary_500",
}


def page_theme() -> gr.themes.Base:
    """Build the theme from fonts that every system has, so that nothing is fetched."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.amber,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_lg,
        font=[gr.themes.Font(name) for name in SANS],
        font_mono=[gr.themes.Font(name) for name in MONO],
    ).set(**COLOURS)
