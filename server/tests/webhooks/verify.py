"""Verifies a webhook as a receiver does, by PyPI's standardwebhooks.

Takes {"secret", "headers", "body"} as JSON on its standard input, and prints {"verified": <the body, parsed>} or
{"refused": <why>}.
"""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

asked = json.load(sys.stdin)
try:
    said = {"verified": Webhook(asked["secret"]).verify(asked["body"], asked["headers"])}
except WebhookVerificationError as error:
    said = {"refused": str(error)}
print(json.dumps(said))
