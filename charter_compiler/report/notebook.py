"""A report inside a notebook: the page in a frame that may run no script, load nothing and leave its place."""

from __future__ import annotations

from markupsafe import Markup

from charter_compiler.report.html import render_report
from charter_compiler.report.model import ReportData

HEIGHT = 720
"""Pixels; the page scrolls inside."""


def notebook_html(data: ReportData) -> str:
    """What ``_repr_html_`` returns: the page as a frame's ``srcdoc``, so that its style stays within the frame."""
    frame = Markup(
        '<iframe sandbox="" title="{}" srcdoc="{}" style="width:100%;height:{}px;border:1px solid #8884;'
        'border-radius:8px"></iframe>'
    )
    # The page is escaped once more: as an attribute it is text, whatever it holds.
    return str(frame.format(data.title, str(render_report(data)), HEIGHT))
