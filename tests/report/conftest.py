from __future__ import annotations

import pytest
from report_sample import sample_report

from charter_compiler.report.model import ReportData


@pytest.fixture
def report_data() -> ReportData:
    return sample_report()
