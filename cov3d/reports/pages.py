"""Write HTML pages from templates. The pages contain everything and open from disk without a network."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cov3d.files import replacing

_TEMPLATES = Path(__file__).with_name("templates")


def write(file: Path, template: str, **values: Any) -> Path:
    """Write a page.

    Args:
        file: where to write.
        template: name of its `.html`, `.css` and `.js`.
        values: for the template, in addition to `style` and `script`.

    Raises:
        OutputError: the file can't be written.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (
        "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names)
        for names in (("palette.css", f"{template}.css"), (f"{template}.js",))
    )
    page = environment.get_template(f"{template}.html").stream(style=style, script=script, **values)
    page.enable_buffering(100)
    with replacing(file) as aside, aside.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(page)
    return file
