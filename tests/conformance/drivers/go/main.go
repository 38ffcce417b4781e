// Makes the calls of the conformance cases with stubs for Go. See README.md two folders above.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"archroute/archroutev1"
)

type plan struct {
	ServiceConfig string `json:"service_config"`
	Targets       map[string]target
	Cases         []call
}

type target struct {
	Address   string
	TLS       bool
	CA, Token string
}

type call struct {
	Name, Call, Target, Service string
	Timeout                     float64
	Request                     json.RawMessage
	Requests                    []json.RawMessage
}

type failure struct {
	Code         string   `json:"code"`
	Reason       string   `json:"reason"`
	Fields       []string `json:"fields"`
	RetryAfterMS *float64 `json:"retry_after_ms"`
}

type answer struct {
	RequestID string          `json:"request_id"`
	Response  json.RawMessage `json:"response,omitempty"`
	Error     *failure        `json:"error,omitempty"`
}

type result struct {
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response,omitempty"`
	Answers  []answer        `json:"answers,omitempty"`
	Status   string          `json:"status,omitempty"`
	Error    *failure        `json:"error,omitempty"`
}

// bearer sends a token with each call, over TLS alone.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

func main() {
	var plan plan
	check(json.NewDecoder(os.Stdin).Decode(&plan))
	output := json.NewEncoder(os.Stdout)
	for _, each := range plan.Cases {
		connection, err := grpc.Dial(plan.Targets[each.Target].Address, options(plan, plan.Targets[each.Target])...)
		check(err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(each.Timeout*float64(time.Second)))
		var found result
		switch each.Call {
		case "route":
			found = route(ctx, connection, each)
		case "route_stream":
			found = routeStream(ctx, connection, each)
		case "check_health":
			found = checkHealth(ctx, connection, each)
		default:
			check(fmt.Errorf("unknown call %q", each.Call))
		}
		cancel()
		check(connection.Close())
		found.Name = each.Name
		check(output.Encode(found))
	}
}

func options(plan plan, target target) []grpc.DialOption {
	options := []grpc.DialOption{grpc.WithDefaultServiceConfig(plan.ServiceConfig)}
	if !target.TLS {
		return append(options, grpc.WithInsecure())
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if target.CA != "" {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM([]byte(target.CA))
	}
	options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if target.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(target.Token)))
	}
	return options
}

func route(ctx context.Context, connection *grpc.ClientConn, each call) result {
	var request archroutev1.RouteRequest
	check(protojson.Unmarshal(each.Request, &request))
	response, err := archroutev1.NewRouterServiceClient(connection).Route(ctx, &request)
	if err != nil {
		return result{Error: failureOf(err)}
	}
	return result{Response: encode(response)}
}

func routeStream(ctx context.Context, connection *grpc.ClientConn, each call) result {
	var found result
	stream, err := archroutev1.NewRouterServiceClient(connection).RouteStream(ctx)
	if err != nil {
		return result{Error: failureOf(err)}
	}
	for _, encoded := range each.Requests {
		var request archroutev1.RouteStreamRequest
		check(protojson.Unmarshal(encoded, &request))
		if err := stream.Send(&request); err != nil {
			break // Recv says why
		}
	}
	check(stream.CloseSend())
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			found.Error = failureOf(err)
			return found
		}
		next := answer{RequestID: response.RequestId}
		if failed := response.GetError(); failed != nil {
			next.Error = failureIn(failed)
		} else {
			next.Response = encode(response.GetResponse())
		}
		found.Answers = append(found.Answers, next)
	}
}

func checkHealth(ctx context.Context, connection *grpc.ClientConn, each call) result {
	request := &healthv1.HealthCheckRequest{Service: each.Service}
	response, err := healthv1.NewHealthClient(connection).Check(ctx, request)
	if err != nil {
		return result{Error: failureOf(err)}
	}
	return result{Status: response.Status.String()}
}

func failureOf(err error) *failure {
	status := status.Convert(err)
	found := &failure{Code: name(status.Code()), Fields: []string{}}
	for _, detail := range status.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			found.Reason = detail.Reason
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				found.Fields = append(found.Fields, violation.Field)
			}
		case *errdetails.RetryInfo:
			found.RetryAfterMS = milliseconds(detail.RetryDelay.GetSeconds(), detail.RetryDelay.GetNanos())
		}
	}
	return found
}

func failureIn(failed *archroutev1.RouteError) *failure {
	found := &failure{Code: name(codes.Code(failed.Code)), Reason: failed.Reason, Fields: []string{}}
	for _, violation := range failed.FieldViolations {
		found.Fields = append(found.Fields, violation.Field)
	}
	if wait := failed.RetryAfter; wait != nil {
		found.RetryAfterMS = milliseconds(wait.Seconds, wait.Nanos)
	}
	return found
}

// name is a code as gRPC's specification writes it: NOT_FOUND for NotFound.
func name(code codes.Code) string {
	var spelled strings.Builder
	for position, letter := range code.String() {
		if position > 0 && unicode.IsUpper(letter) {
			spelled.WriteByte('_')
		}
		spelled.WriteRune(unicode.ToUpper(letter))
	}
	return strings.Replace(spelled.String(), "CANCELED", "CANCELLED", 1)
}

func milliseconds(seconds int64, nanos int32) *float64 {
	found := float64(seconds)*1e3 + float64(nanos)/1e6
	return &found
}

func encode(message proto.Message) json.RawMessage {
	encoded, err := protojson.Marshal(message)
	check(err)
	return encoded
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
