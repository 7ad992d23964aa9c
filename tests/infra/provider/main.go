// A stand-in for Google's Terraform provider: the real terraform checks infra/ against the schema of
// google and google-beta 8.7.0 (../distill_schema.py), and no cloud is there.
//
// It knows names, types, required, computed, blocks and how many there may be of them. It does not
// know which values Google takes, and applies nothing.
package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
)

//go:embed schema/*.json
var schemas embed.FS

func main() {
	// terraform starts terraform-provider-<name>_v<version>: the name says which of the two it is.
	program := strings.TrimPrefix(filepath.Base(os.Args[0]), "terraform-provider-")
	name, _, _ := strings.Cut(program, "_")
	if err := serve(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(name string) error {
	text, err := schemas.ReadFile("schema/" + name + ".json")
	if err != nil {
		return fmt.Errorf("no schema for provider %q: %w", name, err)
	}
	known := &server{}
	if err := json.Unmarshal(text, &known.schema); err != nil {
		return fmt.Errorf("schema of %s: %w", name, err)
	}
	if err := known.schema.check(); err != nil {
		return fmt.Errorf("schema of %s: %w", name, err)
	}
	address := "registry.terraform.io/hashicorp/" + name
	return tf6server.Serve(address, func() tfprotov6.ProviderServer { return known })
}
