// Runs ../cases.json on the database of DATABASE_URL, which needs the schema `outbox`. gen/events has the list of events, and
// the file of OUTBOX_DESCRIPTORS their messages. The committed events stay in the table, so that their rows can be compared
// with those of the Rust library.
package outbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"example.com/outbox"
	"example.com/outbox/gen/events"
	"example.com/outbox/outboxpgx"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

var known = []outbox.Event{
	events.EventCardTransactionSettled,
	events.EventEveryKindHappened,
	events.EventHogeUpdated,
	events.EventMaybeKeyed,
	events.EventNumberCounted,
}

type oneCase struct {
	Event   string
	Message json.RawMessage
	Key     *string
	Headers map[string]string
	Error   string
}

type suite struct {
	accepted, refused []oneCase
	files             *protoregistry.Files
	db                *sql.DB
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T) suite {
	path := os.Getenv("OUTBOX_CASES")
	if path == "" {
		path = "../cases.json"
	}
	text, err := os.ReadFile(path)
	check(t, err)
	var written any
	check(t, json.Unmarshal(text, &written))
	text, err = json.Marshal(expand(written))
	check(t, err)
	var cases struct{ Accepted, Refused []oneCase }
	check(t, json.Unmarshal(text, &cases))
	if len(cases.Accepted) < 10 || len(cases.Refused) < 10 {
		t.Fatal("there are few cases")
	}
	var set descriptorpb.FileDescriptorSet
	descriptors, err := os.ReadFile(os.Getenv("OUTBOX_DESCRIPTORS"))
	check(t, err)
	check(t, proto.Unmarshal(descriptors, &set))
	files, err := protodesc.NewFiles(&set)
	check(t, err)
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	check(t, err)
	t.Cleanup(func() { db.Close() })
	return suite{cases.Accepted, cases.Refused, files, db}
}

// expand replaces {"repeat": ["x", 3]} by "xxx".
func expand(value any) any {
	switch value := value.(type) {
	case []any:
		for at := range value {
			value[at] = expand(value[at])
		}
	case map[string]any:
		if repeat, ok := value["repeat"].([]any); ok {
			return strings.Repeat(repeat[0].(string), int(repeat[1].(float64)))
		}
		for name := range value {
			value[name] = expand(value[name])
		}
	}
	return value
}

func (s suite) message(t *testing.T, of string, written []byte) proto.Message {
	t.Helper()
	descriptor, err := s.files.FindDescriptorByName(protoreflect.FullName(of))
	check(t, err)
	message := dynamicpb.NewMessage(descriptor.(protoreflect.MessageDescriptor))
	check(t, protojson.Unmarshal(written, message))
	return message
}

func (s suite) arguments(t *testing.T, one oneCase) (outbox.Event, proto.Message, []outbox.Option) {
	t.Helper()
	var options []outbox.Option
	if one.Key != nil {
		options = append(options, outbox.WithKey(*one.Key))
	}
	for name, value := range one.Headers {
		options = append(options, outbox.WithHeader(name, value))
	}
	for _, event := range known {
		if event.Name == one.Event {
			return event, s.message(t, event.MessageType, one.Message), options
		}
	}
	t.Fatalf("%s is not generated", one.Event)
	panic("unreachable")
}

func (s suite) count(t *testing.T) (n int) {
	t.Helper()
	check(t, s.db.QueryRow("select count(*) from outbox.event").Scan(&n))
	return n
}

func TestAcceptedCasesArePublished(t *testing.T) {
	s := open(t)
	before := s.count(t)
	tx, err := s.db.Begin()
	check(t, err)
	for _, one := range s.accepted {
		event, message, options := s.arguments(t, one)
		id, err := outbox.Enqueue(context.Background(), tx, event, message, options...)
		check(t, err)
		if len(id) != 36 {
			t.Fatal(id)
		}
	}
	check(t, tx.Commit())
	if n := s.count(t); n != before+len(s.accepted) {
		t.Fatal(n)
	}
}

func TestPgxPublishesInItsTransaction(t *testing.T) {
	s, ctx := open(t), context.Background()
	before := s.count(t)
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	check(t, err)
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	check(t, err)
	for _, one := range s.accepted {
		event, message, options := s.arguments(t, one)
		_, err := outboxpgx.Enqueue(ctx, tx, event, message, options...)
		check(t, err)
	}
	var n int
	check(t, tx.QueryRow(ctx, "select count(*) from outbox.event").Scan(&n))
	check(t, tx.Rollback(ctx))
	if n != before+len(s.accepted) || s.count(t) != before {
		t.Fatal(n)
	}
}

func refuses(t *testing.T, expected string, err error) {
	t.Helper()
	var refusal *outbox.RefusedError
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), expected) {
		t.Errorf("%v, and not: %s", err, expected)
	}
}

func TestRefusedCasesLeaveTheTransactionUsable(t *testing.T) {
	s, ctx := open(t), context.Background()
	before := s.count(t)
	tx, err := s.db.Begin()
	check(t, err)
	for _, one := range s.refused {
		event, message, options := s.arguments(t, one)
		_, err := outbox.Enqueue(ctx, tx, event, message, options...)
		refuses(t, one.Error, err)
	}
	hoge := events.EventHogeUpdated
	message := s.message(t, hoge.MessageType, []byte(`{"hogeId":"rolled back"}`))
	_, err = outbox.Enqueue(ctx, tx, events.EventCardTransactionSettled, message)
	refuses(t, "carries card.v1.CardTransactionSettledEvent, and not hoge.v1.HogeUpdatedEvent", err)
	_, err = outbox.Enqueue(ctx, tx, hoge, nil)
	refuses(t, "event_hoge_updated carries hoge.v1.HogeUpdatedEvent, and not nil", err)
	var absent *descriptorpb.FileDescriptorSet
	_, err = outbox.Enqueue(ctx, tx, outbox.Event{Name: hoge.Name, MessageType: "google.protobuf.FileDescriptorSet"}, absent)
	refuses(t, "and not nil", err)
	_, err = outbox.Enqueue(ctx, tx, outbox.Event{Name: "EventOne"}, message)
	refuses(t, "event name `EventOne` is not lower_snake_case", err)
	_, err = outbox.Enqueue(ctx, tx, outbox.Event{Name: hoge.Name, MessageType: hoge.MessageType, Key: "id"}, message)
	refuses(t, "has no field id: run `outbox codegen`", err)
	_, err = outbox.Enqueue(ctx, tx, hoge, message)
	check(t, err)
	check(t, tx.Rollback())
	if n := s.count(t); n != before {
		t.Fatal(n)
	}
}
