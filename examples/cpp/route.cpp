// Asks an archroute server which policy a message calls for.
//
//     route MESSAGE [POLICY_SET]
//
// The address is taken from ARCHROUTE_ADDRESS.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>

#include <archroute/v1/router.grpc.pb.h>

#include "failure.h"

namespace v1 = archroute::v1;

namespace {

// A gateway with a small model or a GPU should allow far less, and go on with a default model after that.
constexpr std::chrono::seconds kTimeout(5);

void Print(const v1::RouteResponse& response) {
  std::cout << v1::Outcome_Name(response.outcome()) << " " << response.policy() << "\n";
  for (const auto& model : response.models()) {
    std::cout << "send it to " << model << "\n";
  }
  for (const auto& ranked : response.ranking()) {
    std::cout << ranked.probability() << " " << ranked.policy() << "\n";
  }
}

void Explain(const Failure& failure) {
  std::cerr << failure.message << " [" << failure.reason << "]\n";
  switch (failure.code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
      std::cerr << "the request is wrong, and would be wrong again:\n";
      for (const auto& [field, description] : failure.fields) {
        std::cerr << "  " << field << ": " << description << "\n";
      }
      break;
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::FAILED_PRECONDITION:
      std::cerr << "the server has no such policy set, or no default one\n";
      break;
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      std::cerr << "the server does not accept who is calling: check the token\n";
      break;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::UNAVAILABLE:
      std::cerr << "no decision in time: go on with a default model";
      if (failure.retry_after_ms >= 0) {
        std::cerr << ", and ask again in " << failure.retry_after_ms << " ms";
      }
      std::cerr << "\n";
      break;
    default:
      std::cerr << "the server failed: go on with a default model, and report what its log says\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: route MESSAGE [POLICY_SET]\n";
    return 2;
  }
  const char* address = std::getenv("ARCHROUTE_ADDRESS");
  auto channel =
      grpc::CreateChannel(address ? address : "localhost:50051", grpc::InsecureChannelCredentials());
  auto router = v1::RouterService::NewStub(channel);

  v1::RouteRequest request;
  auto* message = request.add_messages();
  message->set_role(v1::ROLE_USER);
  message->add_parts()->set_text(argv[1]);
  request.mutable_options()->set_top_k(3);
  if (argc > 2) {
    request.set_policy_set(argv[2]);
  }

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTimeout);
  v1::RouteResponse response;
  const grpc::Status status = router->Route(&context, request, &response);
  if (!status.ok()) {
    Explain(ReadFailure(status));
    return 1;
  }
  Print(response);
}
