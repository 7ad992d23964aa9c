package main

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

var errNoCloud = errors.New("the stand-in provider only plans: there is no cloud behind it")

// server answers what validate, plan and test ask; the embedded interface stands for the rest.
type server struct {
	tfprotov6.ProviderServer
	schema providerSchema
}

func (s *server) GetMetadata(
	context.Context, *tfprotov6.GetMetadataRequest,
) (*tfprotov6.GetMetadataResponse, error) {
	told := &tfprotov6.GetMetadataResponse{
		ServerCapabilities: &tfprotov6.ServerCapabilities{GetProviderSchemaOptional: true},
	}
	for name := range s.schema.Resources {
		told.Resources = append(told.Resources, tfprotov6.ResourceMetadata{TypeName: name})
	}
	for name := range s.schema.Data {
		told.DataSources = append(told.DataSources, tfprotov6.DataSourceMetadata{TypeName: name})
	}
	return told, nil
}

func (s *server) GetProviderSchema(
	context.Context, *tfprotov6.GetProviderSchemaRequest,
) (*tfprotov6.GetProviderSchemaResponse, error) {
	told := &tfprotov6.GetProviderSchemaResponse{
		Provider:           s.schema.Provider.schema(),
		ServerCapabilities: &tfprotov6.ServerCapabilities{},
		ResourceSchemas:    map[string]*tfprotov6.Schema{},
		DataSourceSchemas:  map[string]*tfprotov6.Schema{},
	}
	for name, resource := range s.schema.Resources {
		told.ResourceSchemas[name] = resource.schema()
	}
	for name, source := range s.schema.Data {
		told.DataSourceSchemas[name] = source.schema()
	}
	return told, nil
}

func (s *server) GetResourceIdentitySchemas(
	context.Context, *tfprotov6.GetResourceIdentitySchemasRequest,
) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (s *server) GetFunctions(
	context.Context, *tfprotov6.GetFunctionsRequest,
) (*tfprotov6.GetFunctionsResponse, error) {
	return &tfprotov6.GetFunctionsResponse{}, nil
}

func (s *server) ValidateProviderConfig(
	_ context.Context, asked *tfprotov6.ValidateProviderConfigRequest,
) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: asked.Config}, nil
}

func (s *server) ConfigureProvider(
	context.Context, *tfprotov6.ConfigureProviderRequest,
) (*tfprotov6.ConfigureProviderResponse, error) {
	return &tfprotov6.ConfigureProviderResponse{}, nil
}

func (s *server) StopProvider(
	context.Context, *tfprotov6.StopProviderRequest,
) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

// ValidateResourceConfig refuses what only Google decides; terraform itself checks the rest.
func (s *server) ValidateResourceConfig(
	_ context.Context, asked *tfprotov6.ValidateResourceConfigRequest,
) (*tfprotov6.ValidateResourceConfigResponse, error) {
	resource := s.schema.Resources[asked.TypeName]
	value, err := asked.Config.Unmarshal(resource.valueType())
	if err != nil {
		return nil, err
	}
	told := &tfprotov6.ValidateResourceConfigResponse{}
	_, err = resource.replace(value, func(known attribute, value tftypes.Value) tftypes.Value {
		if known.Computed && !known.Optional && !value.IsNull() {
			told.Diagnostics = append(told.Diagnostics, &tfprotov6.Diagnostic{
				Severity: tfprotov6.DiagnosticSeverityError,
				Summary:  "Value for unconfigurable attribute",
				Detail:   asked.TypeName + ": a value is given that Google decides",
			})
		}
		return value
	})
	return told, err
}

func (s *server) ValidateDataResourceConfig(
	context.Context, *tfprotov6.ValidateDataResourceConfigRequest,
) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func (s *server) PlanResourceChange(
	_ context.Context, asked *tfprotov6.PlanResourceChangeRequest,
) (*tfprotov6.PlanResourceChangeResponse, error) {
	resource := s.schema.Resources[asked.TypeName]
	value, err := asked.ProposedNewState.Unmarshal(resource.valueType())
	if err != nil {
		return nil, err
	}
	value, err = resource.replace(value, func(known attribute, value tftypes.Value) tftypes.Value {
		if known.Computed && value.IsNull() {
			return tftypes.NewValue(value.Type(), tftypes.UnknownValue)
		}
		return value
	})
	if err != nil {
		return nil, err
	}
	planned, err := tfprotov6.NewDynamicValue(resource.valueType(), value)
	return &tfprotov6.PlanResourceChangeResponse{PlannedState: &planned}, err
}

func (s *server) ApplyResourceChange(
	context.Context, *tfprotov6.ApplyResourceChangeRequest,
) (*tfprotov6.ApplyResourceChangeResponse, error) {
	return nil, errNoCloud
}

func (s *server) ReadResource(
	context.Context, *tfprotov6.ReadResourceRequest,
) (*tfprotov6.ReadResourceResponse, error) {
	return nil, errNoCloud
}

func (s *server) ReadDataSource(
	context.Context, *tfprotov6.ReadDataSourceRequest,
) (*tfprotov6.ReadDataSourceResponse, error) {
	return nil, errNoCloud
}
