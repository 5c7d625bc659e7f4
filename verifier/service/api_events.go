package service

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"
)

// Heartbeat is sent when nothing has happened for a while.
type Heartbeat struct {
	At time.Time `json:"at"`
}

const heartbeat = 15 * time.Second

type eventsInput struct {
	LastEventID int64 `header:"Last-Event-ID" doc:"Number of the last event that was received: the stream goes on after it"`
	After       int64 `query:"after" doc:"The same, for the first request; 0 begins with the oldest that is kept, -1 with what happens from now on" minimum:"-1"`
}

func (s *Service) registerEvents(api huma.API) {
	op := operation(http.MethodGet, "/v1/events", "follow-events", "events", "Follow what happens, as server-sent events")
	op.Description = fmt.Sprintf("The newest %d events are kept in memory. A reader that asks for more than that gets an event of kind missed first. Event numbers grow, also over a restart of the verifier.", keepEvents)
	sse.Register(api, op, map[string]any{"message": Event{}, "heartbeat": Heartbeat{}}, func(ctx context.Context, in *eventsInput, send sse.Sender) {
		select {
		case s.streams <- struct{}{}:
			defer func() { <-s.streams }()
		default:
			return // as many as there are seats follow already
		}
		after := in.LastEventID
		if after == 0 {
			after = in.After
		}
		if after < 0 {
			after = s.events.position()
		}
		s.stream(ctx, after, send)
	})
}

func (s *Service) stream(ctx context.Context, after int64, send sse.Sender) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	if send(sse.Message{Data: Heartbeat{s.c.Now().UTC()}}) != nil { // so that the reader knows it is connected
		return
	}
	for {
		events, fresh := s.events.after(after)
		for _, e := range events {
			if send(sse.Message{ID: int(e.ID), Data: e}) != nil {
				return
			}
			after = e.ID
		}
		select {
		case <-ctx.Done():
			return
		case <-fresh:
		case <-beat.C:
			if send(sse.Message{Data: Heartbeat{s.c.Now().UTC()}}) != nil {
				return
			}
		}
	}
}
