import type { ReflectMessage } from "@bufbuild/protobuf/reflect";

/** The reason to refuse a value that protobuf-es writes and other readers of proto3 JSON refuse, or read as another one. */
export function valueProblem(message: ReflectMessage): string | undefined {
  const { typeName, fields } = message.desc;
  const value = (name: string) => message.get(fields.find((field) => field.name === name)!);
  if (typeName === "google.protobuf.DoubleValue" || typeName === "google.protobuf.FloatValue") {
    return Number.isFinite(value("value")) ? undefined : "a wrapped double or float is not finite";
  }
  if (typeName === "google.protobuf.Any" && value("type_url") === "") {
    return "an Any names no message";
  }
  for (const field of fields) {
    if (!message.isSet(field)) continue;
    let nested: Iterable<unknown> = [];
    if (field.fieldKind === "message") {
      nested = [message.get(field)];
    } else if (field.fieldKind === "list" && field.listKind === "message") {
      nested = message.get(field);
    } else if (field.fieldKind === "map" && field.mapKind === "message") {
      nested = message.get(field).values();
    }
    for (const one of nested) {
      const problem = valueProblem(one as ReflectMessage);
      if (problem !== undefined) return problem;
    }
  }
  return undefined;
}
