"""The wait for scores of earlier searches has a bound."""

from __future__ import annotations

import socket
import time

from trackmllib.domain.operations import Destination
from trackmllib.runtime.prior_scores import PriorSearches


def test_silent_server_delays_a_search_for_no_longer_than_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        searches = PriorSearches(None, lambda _: uri)
        destination = Destination(tracking_uri=uri, experiment_id="1")
        start = time.monotonic()
        found = searches.scores("family", {"key"}, {}, destination, timeout=0.2)
        assert time.monotonic() - start < 10
    assert found.read_error == "the tracking server took longer than 0.2 s"
    assert found.wanted == {}
