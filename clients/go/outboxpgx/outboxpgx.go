// Package outboxpgx publishes events of Outbox in a transaction of pgx.
package outboxpgx

import (
	"context"

	"example.com/outbox"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
)

// Enqueue publishes an event if the transaction commits, and never if it does not. It returns the id of the event.
func Enqueue(ctx context.Context, tx pgx.Tx, event outbox.Event, message proto.Message, options ...outbox.Option) (string, error) {
	entry, err := outbox.NewEntry(event, message, options...)
	if err != nil {
		return "", err
	}
	var id string
	err = tx.QueryRow(ctx, outbox.SQL, entry.Name, entry.Payload, entry.Key, entry.Headers).Scan(&id)
	return id, err
}
