"""A small chart of columns over days, as SVG in the colours of the stylesheet."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT, BASE = 280.0, 110.0, 20.0


def columns_chart(
    label: str, names: Sequence[str], values: Sequence[float | None], words: str
) -> Markup:
    """One column a value; None leaves its place empty.

    Args:
        words: how a value is written, a format string.
    """
    most = max((value for value in values if value is not None), default=0.0) or 1.0
    step = WIDTH / max(1, len(values))
    body = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        if value is None:
            continue
        height = max(1.5 if value else 0.0, (HEIGHT - BASE - 16) * value / most)
        body.append(
            f'<rect x="{i * step + step * 0.14:.1f}" y="{HEIGHT - BASE - height:.1f}" '
            f'width="{step * 0.72:.1f}" height="{height:.1f}" rx="2" class="column">'
            f"<title>{escape(name)}: {escape(words.format(value))}</title></rect>"
        )
    edge = HEIGHT - 4
    body.append(f'<text x="0" y="{edge}" class="tick">{escape(names[0])}</text>')
    body.append(
        f'<text x="{WIDTH}" y="{edge}" text-anchor="end" class="tick">{escape(names[-1])}</text>'
    )
    body.append(f'<text x="0" y="11" class="value">at most {escape(words.format(most))}</text>')
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" class="small" '
        f'aria-label="{escape(label)} over {len(values)} days">' + "".join(body) + "</svg>"
    )
