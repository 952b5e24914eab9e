"""The report on disk: a page for people, and JSON beside it for programs."""

from __future__ import annotations

import json
from pathlib import Path

from charter_compiler.report.html import write_page, write_report
from charter_compiler.report.model import ReportData
from charter_compiler.report.report_json import report_json


def write_report_files(data: ReportData, page: Path) -> tuple[Path, Path]:
    """Write ``page`` and the JSON of the same name; returns both paths.

    Raises:
        OutputError: a file cannot be written.
    """
    path = page.with_suffix(".json")
    write_report(data, page)
    write_page(json.dumps(report_json(data), indent=1, ensure_ascii=False) + "\n", path)
    return page, path
