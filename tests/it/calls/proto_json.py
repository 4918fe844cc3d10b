"""Google's own proto3 JSON, asked line by line: {"type", "binary"} gives {"json"}, {"type", "json"} gives {"binary"}."""

import base64
import json
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf import any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2  # noqa: F401
from google.protobuf.compiler import plugin_pb2  # noqa: F401

pool = descriptor_pool.Default()
with open(sys.argv[1], "rb") as file:
    for descriptor in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        if not descriptor.name.startswith("google/protobuf/"):
            pool.AddSerializedFile(descriptor.SerializeToString())

for line in sys.stdin:
    asked = json.loads(line)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName(asked["type"]))()
    try:
        if "binary" in asked:
            message.ParseFromString(base64.b64decode(asked["binary"]))
            answer = {"json": json_format.MessageToJson(message, descriptor_pool=pool)}
        else:
            json_format.Parse(asked["json"], message, ignore_unknown_fields=True, descriptor_pool=pool)
            answer = {"binary": base64.b64encode(message.SerializeToString()).decode()}
    except Exception as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
