"""Names of classes and fields in outboxes of older schema versions.

Versions 1 and 2 hold the names on the left. Never reuse an old name.
"""

from __future__ import annotations

CLASSES = {
    "CellCosted": "FitCostMeasured",
    "CellFailed": "FitFailed",
    "CellRetried": "FitRetried",
    "CellScored": "FitScored",
    "CellStarted": "FitStarted",
    "CellTakenUp": "ScoreReused",
    "Describe": "SetDescription",
    "Earlier": "PriorScore",
    "GridSetting": "GridParam",
    "OpenMainRun": "OpenParentRun",
    "ParamSetting": "ParamValue",
    "Place": "ParentFit",
    "SearchCosted": "SearchCostMeasured",
    "TakeOver": "Recover",
}

# By the current name of the class.
FIELDS = {
    "Candidate": {"settings": "params"},
    # "exact" was written only as False, which as a dtype also means "not a Python number".
    "FitScored": {"exact": "dtype"},
    "LinkSearch": {"earlier": "prior_search_id"},
    "LogArtifact": {"is_packed": "is_compressed"},
    "ScoreReused": {"earlier": "prior"},
    "SearchDescription": {"page": "spark_ui_url", "page_in_history": "spark_history_url"},
}
