"""The protocol: gRPC in front, one service behind. The only room that knows gRPC."""
