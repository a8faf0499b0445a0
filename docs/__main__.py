"""Builds the documentation: `python -m docs build`, `serve`, `store` for the outputs of pages that
take long, `picture` for that of the README. Needs `pip install -e ".[docs]"`."""

import argparse
import functools
import http.server
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from ._build import _execute, _html, _picture, _stage, _stored


def build(fresh: bool) -> None:
    """The site, in build/site/site. `fresh` runs every page, also those with stored outputs."""
    began = time.perf_counter()
    _stage.stage(print, fresh)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "-f", "mkdocs.yml"]
    if subprocess.run(command, cwd=_stage.SITE).returncode:
        raise _execute.PageError("Zensical reports the above.")
    _html.finish(_stage.SITE / "site")
    print(f"built in {time.perf_counter() - began:.0f} s: {_stage.SITE / 'site'}")


def serve(port: int) -> None:
    """The built site at a local address, until Ctrl-C."""
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(_stage.SITE / "site")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def store(names: list[str]) -> None:
    """Run pages whose outputs are stored: those named, or all that are out of date."""
    pages = {page.name: page for page in _stage.pages() if page.stored}
    if unknown := set(names) - set(pages):
        raise _execute.PageError(
            f"no page with stored outputs: {', '.join(sorted(unknown))}. "
            f"There are: {', '.join(sorted(pages))}."
        )
    wanted = {
        name: "asked for" if names else _stored.stale(_stored.STORED, name, page.parts)
        for name, page in pages.items()
        if not names or name in names
    }

    def run(name: str) -> None:
        outputs, seconds = _execute.run(name, pages[name].parts)
        _stored.store(_stored.STORED, name, pages[name].parts, outputs, seconds)
        print(f"{name}: {seconds:.0f} s ({wanted[name]})", flush=True)

    failed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(run, name) for name, why in wanted.items() if why]
    for made in runs:
        if isinstance(error := made.exception(), _execute.PageError):
            failed.append(str(error))
        elif error:
            raise error
    if failed:
        raise _execute.PageError("\n\n".join(failed))


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m docs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("build", help="build the site, strictly")
    made.add_argument("--fresh", action="store_true", help="run all pages, also stored ones")
    served = commands.add_parser("serve", help="show the built site at a local address")
    served.add_argument("--port", type=int, default=8000)
    stored = commands.add_parser("store", help="run pages that take long and keep what they show")
    stored.add_argument(
        "pages", nargs="*", help="such as theory/dense (default: those out of date)"
    )
    commands.add_parser("picture", help="draw the picture of the README anew")
    options = parser.parse_args()
    try:
        if options.command == "build":
            build(options.fresh)
        elif options.command == "serve":
            serve(options.port)
        elif options.command == "picture":
            print(_picture.make())
        else:
            store(options.pages)
    except _execute.PageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
