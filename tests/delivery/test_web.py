"""What receivers by HTTP get: signed CloudEvents, messages of Slack, events of PagerDuty."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.delivery.receiver import Receiver
from driftgauge.connectors.delivery.web import PagerDuty, Place, Slack, Webhook, cloud_event, dedup_key
from driftgauge.connectors.publishing.payload import payload
from driftgauge.models.outputs import Alert
from tests.delivery.loopback import Answer, Got, receiving
from tests.store.examples import alert

SECRET = "whsec_" + base64.b64encode(b"planted-hunter2-planted-hunter2").decode()
RAISED = alert(
    3, began=3, kind="below_target", severity="alarm", message="labels prove accuracy of <law> & more below 0.80"
)
RESOLVED = replace(RAISED, number=9, state="resolved")


def sent(make: Callable[[Place], Receiver], alert: Alert) -> Got:
    got = list[Got]()
    with receiving(got) as server:
        receiver = make(Place(f"http://127.0.0.1:{server.server_port}/hook?t=1", allow_private=True))
        assert receiver.send([alert]).result == "sent"
    (request,) = got
    assert request.path == "/hook?t=1"
    return request


def test_a_webhook_is_signed_so_that_the_library_of_standard_webhooks_accepts_it() -> None:
    request = sent(lambda place: Webhook(place, SECRET), alert(7, domain="loi é"))
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["webhook-id"] == "loi%20%C3%A9/drift/7"
    event = Verifier(SECRET).verify(request.body, request.headers)
    assert event["id"] == "loi é/drift/7"
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(request.body.replace(b"drift", b"drgft"), request.headers)


def test_without_a_secret_a_webhook_has_an_id_and_no_signature() -> None:
    request = sent(Webhook, alert(7))
    assert request.headers["webhook-id"] == "law/drift/7"
    assert "webhook-signature" not in request.headers


def test_a_receiver_that_asks_for_a_token_gets_it_and_others_get_none() -> None:
    known = sent(lambda place: Webhook(replace(place, authorization="Bearer 5f3c")), alert(7))
    assert known.headers["authorization"] == "Bearer 5f3c"
    assert "authorization" not in sent(Webhook, alert(7)).headers


def test_a_secret_that_is_not_base64_is_refused() -> None:
    with pytest.raises(ConnectorError, match="base64"):
        Webhook(Place("https://a.example"), "whsec_not!")


def test_a_cloud_event_holds_the_alert_as_its_topic_does() -> None:
    event = json.loads(cloud_event(alert(7)))
    assert event.pop("data") == json.loads(json.dumps(payload(alert(7))))
    assert event == {
        "specversion": "1.0",
        "id": "law/drift/7",
        "source": "driftgauge",
        "type": "driftgauge.alert.changed.v2",
        "time": "1970-01-01T00:50:00Z",
        "subject": "law",
        "datacontenttype": "application/json",
        "action": "label some responses of the domain",
    }


def test_slack_gets_what_happened_and_what_to_do_without_markup_of_domains() -> None:
    assert sent(Slack, RAISED).json == {
        "text": "Alarm: labels prove accuracy of &lt;law&gt; &amp; more below 0.80. What to do: act on the domain."
    }


def test_a_domain_that_mentions_everyone_notifies_nobody() -> None:
    text = sent(Slack, alert(7, message="@everyone <!here> team@law is new")).json["text"]
    assert text.startswith("Warning: @\u200beveryone &lt;!here&gt; team@law is new.")


def test_slack_gets_one_message_about_a_group() -> None:
    got = list[Got]()
    with receiving(got) as server:
        receiver = Slack(Place(f"http://127.0.0.1:{server.server_port}/", allow_private=True))
        receiver.send([alert(n, domain=f"d{n}", message=f"p_correct of d{n} fell") for n in range(1, 31)])
    (request,) = got
    first, *lines = request.json["text"].split("\n")
    assert first.startswith("Warning: drift (firing) in 30 series: d1/f1, d2/f1, d3/f1, d4/f1, d5/f1 and 25 more.")
    assert lines == [f"• Warning: p_correct of d{n} fell." for n in range(1, 21)]


def test_pagerduty_resolves_the_incident_that_the_alarm_opened() -> None:
    opened, ended = (sent(lambda place: PagerDuty(place, "key-1"), one).json for one in (RAISED, RESOLVED))
    assert (opened["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == ended["dedup_key"] == "driftgauge/below_target/law/f1/3"
    assert opened["routing_key"] == "key-1"
    assert opened["payload"]["severity"] == "critical"
    assert opened["payload"]["custom_details"]["action"] == "act on the domain"


def test_each_episode_is_an_incident_with_a_key_within_the_bound() -> None:
    keys = {dedup_key(alert(9, began=n, domain="x" * 300)) for n in (7, 8)}
    assert len(keys) == 2
    assert all(len(key) <= 255 for key in keys)


@pytest.mark.parametrize(
    ("answer", "result", "wait_s"),
    [
        (Answer(202), "sent", None),
        (Answer(429, (("Retry-After", "7"),)), "later", 7.0),
        (Answer(503), "later", None),
        (Answer(200, (("Transfer-Encoding", "chunked"),)), "sent", None),  # and its body breaks off
        (Answer(0), "later", None),
        (Answer(302, (("Location", "http://127.0.0.1:1/"),)), "never", None),
        (Answer(404), "never", None),
        (Answer(401), "later", None),
        (Answer(403), "later", None),
    ],
)
def test_answers_that_may_change_are_told_from_those_that_never_will(
    answer: Answer, result: str, wait_s: float | None
) -> None:
    got = list[Got]()
    with receiving(got, lambda _: answer) as server:
        outcome = Slack(Place(f"http://127.0.0.1:{server.server_port}/", allow_private=True)).send([RAISED])
    assert (outcome.result, outcome.wait_s) == (result, wait_s)
    assert len(got) == 1


def test_a_receiver_that_is_down_may_take_the_alert_later() -> None:
    assert Slack(Place("http://127.0.0.1:1/", allow_private=True, timeout_s=1.0)).send([RAISED]).result == "later"


def test_a_private_address_gets_no_request_unless_it_is_allowed() -> None:
    got = list[Got]()
    with receiving(got) as server:
        outcome = Slack(Place(f"http://localhost:{server.server_port}/")).send([RAISED])
    assert outcome.reason == "no answer: the address is inside a private network, which is not allowed"
    assert got == []


def test_neither_address_nor_secret_is_shown() -> None:
    assert "planted" not in repr(Place("https://hooks.example/planted"))
