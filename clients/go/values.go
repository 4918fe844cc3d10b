package outbox

import (
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// valueProblem returns the reason to refuse a value that protojson writes, and that other readers of proto3 JSON refuse, or read
// as another one. Otherwise it returns "".
func valueProblem(message protoreflect.Message) string {
	fields := message.Descriptor().Fields()
	switch message.Descriptor().FullName() {
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue":
		if value := message.Get(fields.ByName("value")).Float(); math.IsNaN(value) || math.IsInf(value, 0) {
			return "a wrapped double or float is not finite"
		}
	case "google.protobuf.Any":
		if message.Get(fields.ByName("type_url")).String() == "" {
			return "an Any names no message"
		}
	}
	problem := ""
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			if field.MapValue().Message() != nil {
				value.Map().Range(func(_ protoreflect.MapKey, one protoreflect.Value) bool {
					problem = valueProblem(one.Message())
					return problem == ""
				})
			}
		case field.Message() == nil:
		case field.IsList():
			for at := 0; at < value.List().Len() && problem == ""; at++ {
				problem = valueProblem(value.List().Get(at).Message())
			}
		default:
			problem = valueProblem(value.Message())
		}
		return problem == ""
	})
	return problem
}
