// Package outbox publishes events of Outbox in a transaction of database/sql. Package outboxpgx does so for pgx.
package outbox

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// SQL is the statement that Enqueue sends, with the name, payload, key and headers of an Entry.
const SQL = "select outbox.enqueue($1::pg_catalog.text, $2::pg_catalog.text, $3::pg_catalog.text, $4::pg_catalog.text)::pg_catalog.text"

// Event is an event, as `outbox codegen --lang go` writes it: its name in event_router.yaml, the full name of its message, and
// the field that proto marks with (outbox.key), or "".
type Event struct{ Name, MessageType, Key string }

// RefusedError is returned before SQL is sent, so the transaction is usable. It does not quote the payload.
type RefusedError struct {
	problem string
	cause   error
}

func (e *RefusedError) Error() string { return e.problem }
func (e *RefusedError) Unwrap() error { return e.cause }

func refused(format string, values ...any) *RefusedError {
	return &RefusedError{problem: fmt.Sprintf(format, values...)}
}

// Option is what an event has besides its message.
type Option func(*options)

type options struct {
	key     *string
	headers map[string]string
}

// WithKey replaces the event's own key. Events with one key stay in the order of their transactions.
func WithKey(key string) Option {
	return func(o *options) { o.key = &key }
}

// WithHeader adds a header that travels with the event: traceparent, or a name with a prefix of your own.
func WithHeader(name, value string) Option {
	return func(o *options) { o.headers[name] = value }
}

// Enqueue publishes an event if the transaction commits, and never if it does not. It returns the id of the event.
func Enqueue(ctx context.Context, tx *sql.Tx, event Event, message proto.Message, options ...Option) (string, error) {
	entry, err := NewEntry(event, message, options...)
	if err != nil {
		return "", err
	}
	var id string
	err = tx.QueryRowContext(ctx, SQL, entry.Name, entry.Payload, entry.Key, entry.Headers).Scan(&id)
	return id, err
}

// Entry has the arguments of SQL, for a driver that has no function here.
type Entry struct {
	Name, Payload string
	Key, Headers  *string
}

// NewEntry encodes and checks an event. Its error is a *RefusedError.
func NewEntry(event Event, message proto.Message, given ...Option) (Entry, error) {
	o := options{headers: map[string]string{}}
	for _, option := range given {
		option(&o)
	}
	if !eventName.MatchString(event.Name) {
		return Entry{}, refused("event name `%s` is not lower_snake_case of at most 128 characters, as in event_router.yaml", event.Name)
	}
	if message == nil || !message.ProtoReflect().IsValid() {
		return Entry{}, refused("%s carries %s, and not nil", event.Name, event.MessageType)
	}
	if own := string(message.ProtoReflect().Descriptor().FullName()); own != event.MessageType {
		return Entry{}, refused("%s carries %s, and not %s", event.Name, event.MessageType, own)
	}
	payload, err := encode(event.Name, message)
	if err != nil {
		return Entry{}, err
	}
	key, err := keyOf(event, message, o.key)
	if err != nil {
		return Entry{}, err
	}
	headers, err := encodeHeaders(event.Name, o.headers)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Name: event.Name, Payload: payload, Key: key, Headers: headers}, nil
}

func encode(name string, message proto.Message) (string, error) {
	if problem := valueProblem(message.ProtoReflect()); problem != "" {
		return "", refused("failed to encode %s: %s", name, problem)
	}
	text, err := protojson.Marshal(message)
	var compact bytes.Buffer
	if err == nil {
		// protojson varies its white space on purpose.
		err = json.Compact(&compact, text)
	}
	if err != nil {
		return "", &RefusedError{problem: "failed to encode " + name, cause: err}
	}
	payload := compact.String()
	if len(payload) > payloadBytesMax {
		return "", refused("payload of %s is %d bytes; at most %d fit on the bus: put large data where the subscriber can fetch it, and its address in the event", name, len(payload), payloadBytesMax)
	}
	if problem := payloadProblem(payload); problem != "" {
		return "", refused("payload of %s %s: no reader of proto3 JSON takes that", name, problem)
	}
	return payload, nil
}

func keyOf(event Event, message proto.Message, given *string) (*string, error) {
	key := given
	if key == nil {
		own, err := ownKey(event, message.ProtoReflect())
		if own == "" || err != nil {
			return nil, err
		}
		key = &own
	}
	if len(*key) > keyBytesMax {
		return nil, refused("key of %s is %d bytes; at most %d are allowed: use the id of what the event is about", event.Name, len(*key), keyBytesMax)
	}
	if strings.Contains(*key, "\x00") {
		return nil, refused("key of %s holds a null character, which no text in Postgres can hold", event.Name)
	}
	if strings.ToValidUTF8(*key, "") != *key {
		return nil, refused("key of %s is not UTF-8, which no text in Postgres can hold", event.Name)
	}
	return key, nil
}

// ownKey returns "" for an unset field, which is no key. Nor is an empty text.
func ownKey(event Event, message protoreflect.Message) (string, error) {
	if event.Key == "" {
		return "", nil
	}
	field := message.Descriptor().Fields().ByName(protoreflect.Name(event.Key))
	if field == nil {
		return "", refused("%s has no field %s: run `outbox codegen` for the proto of the messages", event.MessageType, event.Key)
	}
	if !message.Has(field) {
		return "", nil
	}
	return message.Get(field).String(), nil
}

func encodeHeaders(name string, headers map[string]string) (*string, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	names := make([]string, 0, len(headers))
	for header := range headers {
		names = append(names, header)
	}
	sort.Strings(names)
	for _, header := range names {
		if problem := headerProblem(header, headers[header]); problem != "" {
			return nil, refused("header `%s` of %s %s", header, name, problem)
		}
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	// It writes the names in their order, as every client does, and a line end.
	if err := encoder.Encode(headers); err != nil {
		return nil, &RefusedError{problem: "failed to encode " + name, cause: err}
	}
	encoded := strings.TrimSuffix(text.String(), "\n")
	if len(encoded) > headersBytesMax {
		return nil, refused("headers of %s are %d bytes; at most %d are allowed: data belongs in the payload", name, len(encoded), headersBytesMax)
	}
	return &encoded, nil
}
