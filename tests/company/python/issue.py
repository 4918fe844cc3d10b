"""Issues a card, and publishes that in the same transaction: python3 issue.py CARD_ID [EVENT]"""

import os
import sys

import psycopg
from psycopg.types.json import Jsonb

card_id = sys.argv[1]
event = sys.argv[2] if len(sys.argv) > 2 else "event_card_issued"
payload = {
    "cardId": card_id,
    "issuedAt": "2026-11-25T13:02:07.500Z",
    "kind": "CARD_KIND_VIRTUAL",
    "person": "Jürgen",
    "limitMinor": "9007199254740993",
    "labels": {"team": "blue", "plan/a": "gold"},
}
try:
    with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
        conn.execute("insert into card (id) values (%s)", (card_id,))
        query = "select outbox.enqueue(%s, %s, %s)"
        published = conn.execute(query, (event, Jsonb(payload), card_id)).fetchone()
except psycopg.Error as error:
    sys.exit(f"refused: {error}")
print(f"published {published[0]}")
