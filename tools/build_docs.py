"""The documentation as plain pages: ``make docs`` runs this with MyST's path and a folder.

MyST reads ``docs/``, checks it and, where a session is in the environment, executes its code. Its
own theme has to be downloaded, so what it has read is drawn here without one: the same content, and
no network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parents[1] / "docs"
_OFFLINE = {"API_URL": "http://127.0.0.1:9", "npm_config_registry": "http://127.0.0.1:9"}
"""What MyST looks up when it starts, such as a newer version: it finds nobody who listens there."""
Node = Mapping[str, Any]

_STYLE = """
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; color: #1f2933; }
nav { position: fixed; inset: 0 auto 0 0; width: 13rem; overflow: auto; padding: 1.5rem 1rem;
  background: #f5f7fa; box-sizing: border-box; }
nav a { display: block; padding: .15rem 0; } nav b { display: block; margin-top: 1rem; }
main { margin: 0 auto 4rem; padding: 0 2rem 0 15rem; max-width: 52rem; }
a { color: #1a6aa5; text-decoration: none; } a:hover { text-decoration: underline; }
code { font: .875em/1.5 ui-monospace, monospace; background: #eef1f5; padding: .1em .25em;
  border-radius: 3px; }
pre { background: #f5f7fa; padding: .8rem 1rem; overflow: auto; border-radius: 4px; }
pre code { background: none; padding: 0; }
pre.output { background: none; border-left: 3px solid #9aa5b1; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; } h1 { line-height: 1.2; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid #d9e0e7; }
td code { overflow-wrap: break-word; } td:first-child code { white-space: nowrap; }
img { max-width: 100%; } dt { font-weight: 600; }
@media (max-width: 50rem) { nav { position: static; width: auto; } main { padding: 0 1rem; } }
"""


def main(myst: str, target: Path) -> None:
    """Build the site into a folder; exit with MyST's words where it has something against it."""
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        copy = Path(folder, "docs")
        shutil.copytree(DOCS, copy, ignore=shutil.ignore_patterns("_build"))
        _without_theme(copy)
        _build(myst, copy)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        _draw(copy / "_build" / "site", target)


def _without_theme(copy: Path) -> None:
    settings = yaml.safe_load((copy / "myst.yml").read_text("utf-8"))
    settings["site"] = {"template": "./theme"}
    (copy / "theme").mkdir()
    (copy / "theme" / "template.yml").write_text("jtex: v1\n", encoding="utf-8")
    (copy / "myst.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def _build(myst: str, copy: Path) -> None:
    execute = ["--execute"] if os.environ.get("JUPYTER_BASE_URL") else []
    ran = subprocess.run(  # noqa: S603 - no shell, and the program is the Makefile's
        [myst, "build", "--site", "--strict", "--ci", *execute],
        cwd=copy,
        env={**os.environ, **_OFFLINE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if ran.returncode or "⚠" in ran.stdout or "⛔" in ran.stdout:
        sys.exit(ran.stdout)


def _draw(site: Path, target: Path) -> None:
    config = json.loads((site / "config.json").read_text("utf-8"))["projects"][0]
    listed = [{"slug": config["index"], "title": "Start here"}, *config["pages"]]
    for page in listed:
        if slug := page.get("slug"):
            content = json.loads((site / "content" / f"{slug}.json").read_text("utf-8"))
            text = _page(content, listed)
            (target / f"{slug}.html").write_text(text, encoding="utf-8", newline="\n")
    for file in (site / "public").glob("*.svg"):
        shutil.copy(file, target)


def _page(content: Node, listed: list[Node]) -> str:
    title = escape(content["frontmatter"]["title"])
    menu = "".join(
        f'<a href="{each["slug"]}.html">{escape(each["title"])}</a>\n'
        if each.get("slug")
        else f"<b>{escape(each['title'])}</b>\n"
        for each in listed
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n<nav>\n{menu}</nav>\n"
        f"<main>\n<h1>{title}</h1>\n{_inner(content['mdast'])}\n</main>\n</html>\n"
    )


def _inner(node: Node) -> str:
    return "".join(map(_html, node.get("children", ())))


def _html(node: Node) -> str:
    """Return a node of MyST's tree as HTML. Raises KeyError for a kind that no page has yet."""
    return _KINDS[node["type"]](node)


def _tag(name: str) -> Callable[[Node], str]:
    return lambda node: f"<{name}>{_inner(node)}</{name}>"


def _text(node: Node) -> str:
    return escape(node["value"])


def _heading(node: Node) -> str:
    level = node["depth"]
    return f'<h{level} id="{node.get("html_id", "")}">{_inner(node)}</h{level}>\n'


def _list(node: Node) -> str:
    tag = "ol" if node.get("ordered") else "ul"
    return f"<{tag}>\n{_inner(node)}</{tag}>\n"


def _cell(node: Node) -> str:
    tag = "th" if node.get("header") else "td"
    return f'<{tag} style="text-align: {node.get("align") or "left"}">{_inner(node)}</{tag}>'


def _link(node: Node) -> str:
    return f'<a href="{_address(node)}">{_inner(node)}</a>'


def _image(node: Node) -> str:
    return f'<img src="{_address(node)}" alt="{escape(node.get("alt", ""))}">'


def _address(node: Node) -> str:
    """Return where a link leads: to a page of ours, a file of ours, or elsewhere."""
    url: str = node.get("url", "")
    anchor = f"#{node['html_id']}" if node.get("html_id") else ""
    if node["type"] == "image":
        return escape(url.lstrip("/"))
    if url.startswith("/"):
        path, _, fragment = url[1:].partition("#")
        return f"{path or 'index'}.html" + (anchor or (fragment and f"#{fragment}"))
    return escape(url) or anchor


def _output(node: Node) -> str:
    data = node["jupyter_data"]
    if data["output_type"] == "stream":
        return f'<pre class="output">{escape(data["text"])}</pre>\n'
    given = data["data"]
    if "image/svg+xml" in given:
        return str(given["image/svg+xml"]["content"])
    return f'<pre class="output">{escape(given["text/plain"]["content"])}</pre>\n'


_KINDS: Mapping[str, Callable[[Node], str]] = {
    "block": _inner,
    "blockquote": _tag("blockquote"),
    "code": lambda node: f"<pre><code>{_text(node)}</code></pre>\n",
    "comment": lambda _: "",
    "crossReference": _link,
    "definitionDescription": _tag("dd"),
    "definitionList": _tag("dl"),
    "definitionTerm": _tag("dt"),
    "emphasis": _tag("em"),
    "heading": _heading,
    "image": _image,
    "inlineCode": lambda node: f"<code>{_text(node)}</code>",
    "link": _link,
    "list": _list,
    "listItem": _tag("li"),
    "output": _output,
    "outputs": _inner,
    "paragraph": _tag("p"),
    "strong": _tag("strong"),
    "table": lambda node: f'<div class="wide"><table>{_inner(node)}</table></div>\n',
    "tableCell": _cell,
    "tableRow": _tag("tr"),
    "text": _text,
}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
