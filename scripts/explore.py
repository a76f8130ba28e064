"""Embeddings to look at in a browser: a map of all detections, and a page for your own files or words.

    python scripts/explore.py outputs/embeddings/align/default outputs/data/default --spectrum_model outputs/spectrum

Upload a spectrum, an event list or both, or describe a source: pictures, nearest detections, their texts. The map
(Embedding Atlas) has filters and neighbours. Needs the extra `explore`; nothing comes from the network, and it listens
on this machine only unless --host says otherwise. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse

from chandraclip.program import run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py")
    parser.add_argument("dataset", help="folder or Hub id of the dataset they are of: facts, texts and pictures")
    parser.add_argument("--model", help="folder or Hub id of the model, if not where the embeddings say")
    parser.add_argument("--spectrum_model", help="pre-trained autoencoder of spectra, which draws the reconstruction")
    parser.add_argument("--no_map", action="store_true", help="only the page; the map takes a minute to be laid out")
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (default: %(default)s, this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="(default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.explorer.answers import Explorer
    from chandraclip.explorer.atlas import map_table
    from chandraclip.explorer.detections import Detections
    from chandraclip.explorer.page import import_gradio
    from chandraclip.explorer.pictures import Autoencoder
    from chandraclip.explorer.server import explorer_app, is_loopback
    from chandraclip.search import Catalog

    import_gradio()  # says what is missing before the work begins
    catalog = Catalog.from_pretrained(options.embeddings, options.dataset, model=options.model)
    explorer = Explorer(
        catalog,
        Detections(options.dataset, catalog.table.provenance.get("dataset_config")),
        Autoencoder(options.spectrum_model) if options.spectrum_model else None,
    )
    if not options.no_map:
        print(f"map of {len(catalog):,} detections: laid out once, in about a minute for 40,000", flush=True)
    app = explorer_app(explorer, None if options.no_map else map_table(catalog), options.host)

    import uvicorn

    where = f"http://{options.host}:{options.port}/"
    print(f"explorer: {where}" + ("" if options.no_map else f", map: {where}map/") + " (Ctrl-C ends it)", flush=True)
    if not is_loopback(options.host):
        print(f"{options.host}: everyone who reaches this machine can use it, and there is no password", flush=True)
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    run_program(main)
