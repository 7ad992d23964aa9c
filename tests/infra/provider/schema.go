package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

type attribute struct {
	Type                         json.RawMessage
	Computed, Optional, Required bool
}

type block struct {
	Attributes map[string]attribute
	Blocks     map[string]block
	Nesting    string
	Min, Max   int64
}

type providerSchema struct {
	Provider  block
	Resources map[string]block
	Data      map[string]block
}

var nestings = map[string]tfprotov6.SchemaNestedBlockNestingMode{
	"list":   tfprotov6.SchemaNestedBlockNestingModeList,
	"set":    tfprotov6.SchemaNestedBlockNestingModeSet,
	"single": tfprotov6.SchemaNestedBlockNestingModeSingle,
}

// check finds what proto would panic about.
func (s providerSchema) check() error {
	if err := s.Provider.check("provider"); err != nil {
		return err
	}
	for _, known := range []map[string]block{s.Resources, s.Data} {
		for name, described := range known {
			if err := described.check(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b block) check(path string) error {
	for name, known := range b.Attributes {
		if _, err := tftypes.ParseJSONType(known.Type); err != nil {
			return fmt.Errorf("%s.%s: %w", path, name, err)
		}
	}
	for name, nested := range b.Blocks {
		if _, known := nestings[nested.Nesting]; !known {
			return fmt.Errorf("%s.%s: nesting %q", path, name, nested.Nesting)
		}
		if err := nested.check(path + "." + name); err != nil {
			return err
		}
	}
	return nil
}

func (b block) valueType() tftypes.Type { return b.proto().ValueType() }

func (b block) schema() *tfprotov6.Schema { return &tfprotov6.Schema{Block: b.proto()} }

func (b block) proto() *tfprotov6.SchemaBlock {
	told := &tfprotov6.SchemaBlock{}
	for _, name := range slices.Sorted(maps.Keys(b.Attributes)) {
		known := b.Attributes[name]
		kind, err := tftypes.ParseJSONType(known.Type)
		if err != nil {
			panic(err)
		}
		told.Attributes = append(told.Attributes, &tfprotov6.SchemaAttribute{
			Name: name, Type: kind,
			Computed: known.Computed, Optional: known.Optional, Required: known.Required,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(b.Blocks)) {
		nested := b.Blocks[name]
		told.BlockTypes = append(told.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Block: nested.proto(), Nesting: nestings[nested.Nesting],
			MinItems: nested.Min, MaxItems: nested.Max,
		})
	}
	return told
}

// replace gives a value of the block with each attribute put through by.
func (b block) replace(
	value tftypes.Value, by func(known attribute, value tftypes.Value) tftypes.Value,
) (tftypes.Value, error) {
	if value.IsNull() || !value.IsKnown() {
		return value, nil
	}
	fields := map[string]tftypes.Value{}
	if err := value.As(&fields); err != nil {
		return value, err
	}
	for name, known := range b.Attributes {
		fields[name] = by(known, fields[name])
	}
	for name, nested := range b.Blocks {
		replaced, err := nested.replaceAll(fields[name], by)
		if err != nil {
			return value, err
		}
		fields[name] = replaced
	}
	return tftypes.NewValue(value.Type(), fields), nil
}

func (b block) replaceAll(
	value tftypes.Value, by func(known attribute, value tftypes.Value) tftypes.Value,
) (tftypes.Value, error) {
	if b.Nesting == "single" {
		return b.replace(value, by)
	}
	if value.IsNull() || !value.IsKnown() {
		return value, nil
	}
	var items []tftypes.Value
	if err := value.As(&items); err != nil {
		return value, err
	}
	for i := range items {
		replaced, err := b.replace(items[i], by)
		if err != nil {
			return value, err
		}
		items[i] = replaced
	}
	return tftypes.NewValue(value.Type(), items), nil
}
