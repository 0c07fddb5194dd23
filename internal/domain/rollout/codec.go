package rollout

import (
	"encoding/json"
	"fmt"
)

// EncodeEvent writes an event for storage: its name and its JSON.
func EncodeEvent(e Event) (name string, data []byte, err error) {
	switch e.(type) {
	case Started:
		name = "started"
	case LeaseAsked:
		name = "lease_asked"
	case OutcomeKnown:
		name = "outcome_known"
	case Compared:
		name = "compared"
	case FreezesSet:
		name = "freezes_set"
	case CellsHeard:
		name = "cells_heard"
	case HostRecovered:
		name = "host_recovered"
	case HostBooted:
		name = "host_booted"
	case Woke:
		name = "woke"
	case OperatorActed:
		name = "operator_acted"
	}
	data, err = json.Marshal(e)
	return name, data, err
}

// DecodeEvent reads what EncodeEvent wrote.
func DecodeEvent(name string, data []byte) (Event, error) {
	switch name {
	case "started":
		return decode[Started](data)
	case "lease_asked":
		return decode[LeaseAsked](data)
	case "outcome_known":
		return decode[OutcomeKnown](data)
	case "compared":
		return decode[Compared](data)
	case "freezes_set":
		return decode[FreezesSet](data)
	case "cells_heard":
		return decode[CellsHeard](data)
	case "host_recovered":
		return decode[HostRecovered](data)
	case "host_booted":
		return decode[HostBooted](data)
	case "woke":
		return decode[Woke](data)
	case "operator_acted":
		return decode[OperatorActed](data)
	default:
		return nil, fmt.Errorf("decode rollout event: unknown name %q", name)
	}
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("decode rollout event: %w", err)
	}
	return e, nil
}

// EncodeEffects writes effects for storage: a JSON array of {"effect": name, "data": {...}}.
func EncodeEffects(effects []Effect) ([]byte, error) {
	named := make([]namedEffect, len(effects))
	for i, e := range effects {
		data, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode rollout effect: %w", err)
		}
		named[i] = namedEffect{Effect: effectName(e), Data: data}
	}
	return json.Marshal(named)
}

type namedEffect struct {
	Effect string          `json:"effect"`
	Data   json.RawMessage `json:"data"`
}

func effectName(e Effect) string {
	switch e.(type) {
	case GrantLease:
		return "grant_lease"
	case RefuseLease:
		return "refuse_lease"
	case PublishDirective:
		return "publish_directive"
	case RecallRelease:
		return "recall_release"
	case OpenIncident:
		return "open_incident"
	case Notify:
		return "notify"
	case WakeAt:
		return "wake_at"
	case Record:
		return "record"
	}
	return ""
}

// DecodeRecords reads the decisions among stored effects; the other effects were carried out when they were stored. A lease is its own
// record: its reason is written when somebody asks, because there are as many as hosts.
func DecodeRecords(data []byte) ([]Record, error) {
	var named []namedEffect
	if err := json.Unmarshal(data, &named); err != nil {
		return nil, fmt.Errorf("decode rollout effects: %w", err)
	}
	var records []Record
	for _, n := range named {
		var r Record
		var err error
		switch n.Effect {
		case "record":
			err = json.Unmarshal(n.Data, &r)
		case "grant_lease":
			var g GrantLease
			err = json.Unmarshal(n.Data, &g)
			r = g.record()
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("decode rollout record: %w", err)
		}
		records = append(records, r)
	}
	return records, nil
}

func (g GrantLease) record() Record {
	return Record{
		Verdict: DidGrant, Ring: g.Ring, Exposed: g.Why.Exposed, Unconfirmed: g.Why.Unconfirmed,
		Reason: fmt.Sprintf("%s may activate: its ring has %d of %d, %d unconfirmed of %d allowed", g.Endpoint, g.Why.Leased, g.Why.Size,
			g.Why.Unconfirmed, g.Why.Allowed),
	}
}
