"""Whether a model that was made of another one may be passed on under the other one's licence.

    objection("apache-2.0")          # None
    objection("cc-by-nc-4.0")        # "its licence (cc-by-nc-4.0) forbids commercial use"

Names are those of the hub's cards. That a licence is not known here says nothing of it but that
somebody has to read it.
"""

from __future__ import annotations

import re

_FREE = {
    *("apache-2.0", "mit", "isc", "bsd", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "zlib"),
    *("unlicense", "cc0-1.0", "cc-by-4.0", "cc-by-3.0", "cc-by-2.0", "wtfpl", "postgresql"),
    *("ncsa", "mpl-2.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "pddl", "odc-by"),
}
"""What asks for no more than that its text and its authors are named."""
_NON_COMMERCIAL = re.compile(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial|research", re.IGNORECASE)
_UNKNOWN = ("unknown", "other")


def objection(licence: str | None, *, gated: bool = False) -> str | None:
    """What a person has to agree to before such a model is passed on; None: nothing.

    Args:
        licence: of the base, as its card states it.
        gated: only those who have accepted its terms could fetch it.
    """
    if licence is None or licence.lower() in _UNKNOWN:
        return "its licence is not known"
    if _NON_COMMERCIAL.search(licence):
        return f"its licence ({licence}) forbids commercial use"
    if gated:
        return f"only those who have accepted its terms may have it (licence {licence})"
    if licence.lower() not in _FREE:
        return f"its licence ({licence}) has terms for what is made of it"
    return None
