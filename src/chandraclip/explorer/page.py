"""The page that answers files and words, made with Gradio; it takes nothing from the network."""

from __future__ import annotations

from typing import Any

import pandas as pd

from chandraclip.errors import OptionError, QueryError
from chandraclip.evaluation.lookup import SUMMARY
from chandraclip.explorer.answers import MAX_NEIGHBOURS, Answer, Explorer
from chandraclip.explorer.pictures import PICTURES
from chandraclip.explorer.uploads import MAX_FILES, SUFFIXES

TITLE = "ChandraCLIP explorer"
MAP_PATH = "/map/"


def build_page(explorer: Explorer, with_map: bool) -> Any:
    """The page as Gradio `Blocks`.

    Args:
        explorer: answers.
        with_map: whether the map is served beside it, at `MAP_PATH`.

    Raises:
        OptionError: gradio is not installed.
    """
    gradio = import_gradio()
    catalog = explorer.catalog
    link = f"[Map of all of them]({MAP_PATH}). " if with_map else ""
    with gradio.Blocks(analytics_enabled=False, title=TITLE) as page:
        gradio.Markdown(
            f"# {TITLE}\n{len(catalog):,} detections of {catalog.table.provenance.get('dataset', catalog.table.path)}, "
            f"embedded by {catalog.table.provenance.get('model', 'an unnamed model')}. {link}"
        )
        with gradio.Row():
            with gradio.Column():
                files = gradio.File(
                    file_count="multiple", file_types=list(SUFFIXES), type="filepath", height=150,
                    label=f"Spectrum, event list, what goes with them (FITS; at most {MAX_FILES})",
                )  # fmt: skip
                # Empty where the model does without it. `precision` is left out: a column has decimals.
                nh_gal = gradio.Number(
                    value=None, minimum=0, label="Galactic column of the position, 1e20 cm-2 (if known)",
                    visible=catalog.model.uses("nh_gal"),
                )  # fmt: skip
                ask_files = gradio.Button("Look up the files", variant="primary")
            with gradio.Column():
                text = gradio.Textbox(label="A source in words", placeholder="soft, highly variable", lines=5)
                ask_text = gradio.Button("Look up the words", variant="primary")
        number = gradio.Slider(1, MAX_NEIGHBOURS, value=10, step=1, label="Neighbours")
        status = gradio.Markdown(elem_id="status")
        plots = []
        for first in range(0, len(PICTURES), 2):
            with gradio.Row():
                plots += [gradio.Plot(label=name, show_label=False) for name in PICTURES[first : first + 2]]
        neighbours = gradio.Dataframe(label="Nearest detections", interactive=False, elem_id="neighbours")
        texts = gradio.Markdown(elem_id="texts")
        outputs = [status, *plots, neighbours, texts]

        def by_files(given: list[str] | None, column: float | None, k: float) -> list[Any]:
            return _shown(lambda: explorer.of_files(given or [], int(k), column))

        def by_text(given: str | None, k: float) -> list[Any]:
            return _shown(lambda: explorer.of_text(given or "", int(k)))

        # Not offered as an API: the page is for people, `Catalog` is for programs.
        ask_files.click(by_files, [files, nh_gal, number], outputs, api_visibility="private")
        for event in (ask_text.click, text.submit):
            event(by_text, [text, number], outputs, api_visibility="private")
    return page


def import_gradio() -> Any:
    """Gradio, told not to report its use.

    Raises:
        OptionError: it is not installed.
    """
    import os

    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
    try:
        import gradio
    except ImportError as error:
        raise OptionError("the page needs gradio: pip install 'chandraclip[explore]'") from error
    return gradio


def _shown(ask: Any) -> list[Any]:
    try:
        answer: Answer = ask()
    except QueryError as error:
        return [f"**{_plain(str(error))}**", *[None] * len(PICTURES), pd.DataFrame(), ""]
    lines = [f"### {_plain(answer.title)}"]
    if answer.facts:
        lines.append(f"```text\n{answer.facts.replace('`', chr(39))}\n```")
    lines += [f"- {_plain(note)}" for note in answer.notes]
    drawn = [answer.pictures.get(name) for name in PICTURES]
    return ["\n\n".join(lines), *drawn, _rounded(answer.neighbours), _texts(answer.texts)]


def _texts(frame: pd.DataFrame) -> str:
    """The nearest texts one below the other, each with its similarity and a source that it is about."""
    parts = []
    for row in frame.to_dict("records"):
        known = isinstance(row.get("source_class"), str)  # NaN: not known
        about = f"{row['name']}, {row['source_class']}" if known else str(row["name"])
        parts.append(f"**{row['similarity']:.3f}** {_plain(about)}\n\n{_plain(str(row.get(SUMMARY) or ''))}")
    return "\n\n".join(["### Nearest texts", *parts] if parts else [])


def _plain(text: str) -> str:
    """Words of a visitor or a header: no markup of the page."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!$" else letter for letter in " ".join(text.split()))


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.map(lambda value: float(f"{value:.4g}") if isinstance(value, float) else value)
