// Makes the calls of the conformance cases with stubs for C++. See README.md two folders above.

#include <chrono>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

#include <archroute/v1/router.grpc.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <grpc/health/v1/health.grpc.pb.h>

#include "failure.h"

namespace v1 = archroute::v1;
namespace health = grpc::health::v1;
using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::util::JsonStringToMessage;
using google::protobuf::util::MessageToJsonString;

namespace {

// JSON of any shape, as google.protobuf.Struct has it.
template <typename Message>
void FromJson(const std::string& json, Message* message) {
  const auto status = JsonStringToMessage(json, message);
  if (!status.ok()) {
    throw std::runtime_error(status.ToString());
  }
}

std::string ToJson(const google::protobuf::Message& message) {
  std::string json;
  if (const auto status = MessageToJsonString(message, &json); !status.ok()) {
    throw std::runtime_error(status.ToString());
  }
  return json;
}

Struct ToStruct(const google::protobuf::Message& message) {
  Struct value;
  FromJson(ToJson(message), &value);
  return value;
}

bool Has(const Struct& value, const std::string& name) { return value.fields().count(name) > 0; }

const std::string& Text(const Struct& value, const std::string& name) {
  return value.fields().at(name).string_value();
}

// The codes as gRPC's specification writes them.
std::string Name(int code) {
  static const char* const kNames[] = {
      "OK",           "CANCELLED",         "UNKNOWN",            "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
      "NOT_FOUND",    "ALREADY_EXISTS",    "PERMISSION_DENIED",  "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",      "OUT_OF_RANGE",      "UNIMPLEMENTED",      "INTERNAL",         "UNAVAILABLE",
      "DATA_LOSS",    "UNAUTHENTICATED"};
  return code >= 0 && code < static_cast<int>(std::size(kNames)) ? kNames[code] : "UNKNOWN";
}

Struct Error(int code, const std::string& reason, const std::vector<std::string>& wrong, double retry_after_ms) {
  Struct error;
  auto& fields = *error.mutable_fields();
  fields["code"].set_string_value(Name(code));
  fields["reason"].set_string_value(reason);
  auto* list = fields["fields"].mutable_list_value();
  for (const auto& field : wrong) {
    list->add_values()->set_string_value(field);
  }
  if (retry_after_ms < 0) {
    fields["retry_after_ms"].set_null_value(google::protobuf::NULL_VALUE);
  } else {
    fields["retry_after_ms"].set_number_value(retry_after_ms);
  }
  return error;
}

Struct Error(const grpc::Status& status) {
  const Failure failure = ReadFailure(status);
  std::vector<std::string> wrong;
  for (const auto& [field, description] : failure.fields) {
    wrong.push_back(field);
  }
  return Error(failure.code, failure.reason, wrong, failure.retry_after_ms);
}

Struct Error(const v1::RouteError& error) {
  std::vector<std::string> wrong;
  for (const auto& violation : error.field_violations()) {
    wrong.push_back(violation.field());
  }
  const auto& wait = error.retry_after();
  return Error(error.code(), error.reason(), wrong,
               error.has_retry_after() ? wait.seconds() * 1e3 + wait.nanos() / 1e6 : -1);
}

std::shared_ptr<grpc::Channel> Connect(const Struct& target, const std::string& service_config) {
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (Has(target, "tls")) {
    grpc::SslCredentialsOptions options;
    if (Has(target, "ca")) {
      options.pem_root_certs = Text(target, "ca");
    }
    credentials = grpc::SslCredentials(options);
    if (Has(target, "token")) {
      credentials = grpc::CompositeChannelCredentials(
          credentials, grpc::AccessTokenCredentials(Text(target, "token")));
    }
  }
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(service_config);
  return grpc::CreateCustomChannel(Text(target, "address"), credentials, arguments);
}

void SetDeadline(const Struct& planned, grpc::ClientContext* context) {
  const std::chrono::duration<double> timeout(planned.fields().at("timeout").number_value());
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::duration_cast<std::chrono::microseconds>(timeout));
}

void Route(const std::shared_ptr<grpc::Channel>& channel, const Struct& planned, Struct* result) {
  v1::RouteRequest request;
  FromJson(ToJson(planned.fields().at("request").struct_value()), &request);
  grpc::ClientContext context;
  SetDeadline(planned, &context);
  v1::RouteResponse response;
  const auto status = v1::RouterService::NewStub(channel)->Route(&context, request, &response);
  auto& fields = *result->mutable_fields();
  if (status.ok()) {
    *fields["response"].mutable_struct_value() = ToStruct(response);
  } else {
    *fields["error"].mutable_struct_value() = Error(status);
  }
}

void RouteStream(const std::shared_ptr<grpc::Channel>& channel, const Struct& planned, Struct* result) {
  grpc::ClientContext context;
  SetDeadline(planned, &context);
  const auto router = v1::RouterService::NewStub(channel);
  const auto stream = router->RouteStream(&context);
  for (const auto& value : planned.fields().at("requests").list_value().values()) {
    v1::RouteStreamRequest request;
    FromJson(ToJson(value.struct_value()), &request);
    stream->Write(request);
  }
  stream->WritesDone();
  ListValue answers;
  v1::RouteStreamResponse response;
  while (stream->Read(&response)) {
    auto& answer = *answers.add_values()->mutable_struct_value()->mutable_fields();
    answer["request_id"].set_string_value(response.request_id());
    if (response.has_error()) {
      *answer["error"].mutable_struct_value() = Error(response.error());
    } else {
      *answer["response"].mutable_struct_value() = ToStruct(response.response());
    }
  }
  const auto status = stream->Finish();
  auto& fields = *result->mutable_fields();
  *fields["answers"].mutable_list_value() = answers;
  if (!status.ok()) {
    *fields["error"].mutable_struct_value() = Error(status);
  }
}

void CheckHealth(const std::shared_ptr<grpc::Channel>& channel, const Struct& planned, Struct* result) {
  health::HealthCheckRequest request;
  request.set_service(Text(planned, "service"));
  grpc::ClientContext context;
  SetDeadline(planned, &context);
  health::HealthCheckResponse response;
  const auto status = health::Health::NewStub(channel)->Check(&context, request, &response);
  auto& fields = *result->mutable_fields();
  if (status.ok()) {
    fields["status"].set_string_value(health::HealthCheckResponse::ServingStatus_Name(response.status()));
  } else {
    *fields["error"].mutable_struct_value() = Error(status);
  }
}

}  // namespace

int main() {
  const std::string input(std::istreambuf_iterator<char>(std::cin), {});
  Struct plan;
  FromJson(input, &plan);
  const auto& targets = plan.fields().at("targets").struct_value();
  for (const auto& value : plan.fields().at("cases").list_value().values()) {
    const Struct& planned = value.struct_value();
    const auto channel = Connect(targets.fields().at(Text(planned, "target")).struct_value(),
                                 Text(plan, "service_config"));
    Struct result;
    (*result.mutable_fields())["name"].set_string_value(Text(planned, "name"));
    const auto& call = Text(planned, "call");
    if (call == "route") {
      Route(channel, planned, &result);
    } else if (call == "route_stream") {
      RouteStream(channel, planned, &result);
    } else if (call == "check_health") {
      CheckHealth(channel, planned, &result);
    } else {
      throw std::runtime_error("unknown call " + call);
    }
    std::cout << ToJson(result) << std::endl;
  }
}
