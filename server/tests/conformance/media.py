"""How bodies that are no JSON are written."""

import schemathesis


@schemathesis.serializer("application/toml")
def toml(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
