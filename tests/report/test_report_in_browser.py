"""The report in a real browser: no script runs, nothing is loaded, and both colour schemes apply."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from report_hostile import poisoned
from report_page import Page

from charter_compiler.report.html import write_report
from charter_compiler.report.model import ReportData

pytestmark = pytest.mark.system
SCHEMES = {"light": (1, (0xFB, 0xFB, 0xFA)), "dark": (0, (0x14, 0x17, 0x1C))}
"""Chromium's number of the preferred scheme, and the page's background in ``report.css``."""


def chromium(profile: Path, *arguments: str) -> str:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program is not None, "Chromium is missing: make test-system installs it"
    command = [
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
        *arguments,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def first_pixel(png: bytes) -> tuple[int, int, int]:
    """Red, green and blue of the upper left pixel, which every filter of the format stores as it is."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    position, data = 8, b""
    while position < len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        if png[position + 4 : position + 8] == b"IDAT":
            data += png[position + 8 : position + 8 + length]
        position += 12 + length
    line = zlib.decompress(data)
    return line[1], line[2], line[3]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_colour_scheme(scheme: str, report_data: ReportData, tmp_path: Path) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    write_report(report_data, page)
    number, background = SCHEMES[scheme]
    chromium(
        tmp_path / "profile",
        f"--blink-settings=preferredColorScheme={number}",
        "--window-size=1180,1400",
        f"--screenshot={picture}",
        page.as_uri(),
    )
    assert first_pixel(picture.read_bytes()) == background


def test_a_hostile_report_stays_text(report_data: ReportData, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_report(poisoned(report_data), page)
    dom = Page(chromium(tmp_path / "profile", "--dump-dom", page.as_uri()))
    assert dom.tags("script") == []
    assert dom.tags("img") == []
    assert "<script>alert(1)</script>" in dom.text
    assert len(dom.tags("details")) == len(report_data.calls)
