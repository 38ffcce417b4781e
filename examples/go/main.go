// Route asks an archroute server which policy a message calls for.
//
//	route MESSAGE [POLICY_SET]
//
// The address is taken from ARCHROUTE_ADDRESS.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"archroute/archroutev1"
)

// A gateway with a small model or a GPU should allow far less, and go on with a default model after that.
const timeout = 5 * time.Second

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: route MESSAGE [POLICY_SET]")
		os.Exit(2)
	}
	response, err := route(os.Args[1], os.Args[2:])
	if err != nil {
		explain(err)
		os.Exit(1)
	}
	fmt.Println(response.Outcome, response.Policy)
	for _, model := range response.Models {
		fmt.Println("send it to", model)
	}
	for _, ranked := range response.Ranking {
		fmt.Printf("%.3f %s\n", ranked.Probability, ranked.Policy)
	}
}

func route(text string, policySet []string) (*archroutev1.RouteResponse, error) {
	address := os.Getenv("ARCHROUTE_ADDRESS")
	if address == "" {
		address = "localhost:50051"
	}
	connection, err := grpc.Dial(address, grpc.WithInsecure())
	if err != nil {
		return nil, err
	}
	defer connection.Close()

	request := &archroutev1.RouteRequest{
		Messages: []*archroutev1.Message{{
			Role:  archroutev1.Role_ROLE_USER,
			Parts: []*archroutev1.Part{{Content: &archroutev1.Part_Text{Text: text}}},
		}},
		Options: &archroutev1.RouteOptions{TopK: 3},
	}
	if len(policySet) > 0 {
		request.Policies = &archroutev1.RouteRequest_PolicySet{PolicySet: policySet[0]}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return archroutev1.NewRouterServiceClient(connection).Route(ctx, request)
}

// explain says what went wrong, and what to do about it.
func explain(err error) {
	failure := status.Convert(err)
	var reason, wait string
	var wrong []*errdetails.BadRequest_FieldViolation
	for _, detail := range failure.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.Reason
		case *errdetails.BadRequest:
			wrong = detail.FieldViolations
		case *errdetails.RetryInfo:
			delay := time.Duration(detail.RetryDelay.GetSeconds())*time.Second + time.Duration(detail.RetryDelay.GetNanos())
			wait = fmt.Sprintf(", and ask again in %v", delay)
		}
	}
	fmt.Fprintf(os.Stderr, "%s [%s]\n", failure.Message(), reason)
	switch failure.Code() {
	case codes.InvalidArgument:
		fmt.Fprintln(os.Stderr, "the request is wrong, and would be wrong again:")
		for _, violation := range wrong {
			fmt.Fprintf(os.Stderr, "  %s: %s\n", violation.Field, violation.Description)
		}
	case codes.NotFound, codes.FailedPrecondition:
		fmt.Fprintln(os.Stderr, "the server has no such policy set, or no default one")
	case codes.Unauthenticated, codes.PermissionDenied:
		fmt.Fprintln(os.Stderr, "the server does not accept who is calling: check the token")
	case codes.ResourceExhausted, codes.DeadlineExceeded, codes.Unavailable:
		fmt.Fprintf(os.Stderr, "no decision in time: go on with a default model%s\n", wait)
	default:
		fmt.Fprintln(os.Stderr, "the server failed: go on with a default model, and report what its log says")
	}
}
