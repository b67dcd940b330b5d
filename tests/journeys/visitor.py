"""A browser without scripts: cookies, pages and their forms. As a program, it reads what to open from stdin.

Each line is ``[address, fields or null, action of the form]``; each answer is a line with the page as a JSON string.
That way it can be on another host than the test.
"""

from __future__ import annotations

import http.cookiejar
import json
import re
import sys
import urllib.parse
import urllib.request

PATIENCE = 90.0  # seconds


class Visitor:
    """One person at one browser."""

    def __init__(self) -> None:
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def open(self, address: str, fields: dict[str, str] | None = None, form: str = "") -> str:
        """A page, after its form with this action was filled in and sent."""
        with self._opener.open(address, timeout=PATIENCE) as answer:
            page: str = answer.read().decode()
        if fields is None:
            return page
        body = re.search(rf'<form[^>]*action="{re.escape(form)}".*?</form>', page, re.DOTALL)
        assert body is not None, page
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', body[0]))
        assert set(fields) <= set(re.findall(r'name="([^"]+)"', body[0]))
        origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(address))
        request = urllib.request.Request(
            urllib.parse.urljoin(address, form),
            urllib.parse.urlencode({**hidden, **fields}).encode(),
            {"Origin": origin, "Sec-Fetch-Site": "same-origin"},
        )
        with self._opener.open(request, timeout=PATIENCE) as answer:
            sent: str = answer.read().decode()
        return sent


if __name__ == "__main__":
    visitor = Visitor()
    for line in sys.stdin:
        print(json.dumps(visitor.open(*json.loads(line))), flush=True)
