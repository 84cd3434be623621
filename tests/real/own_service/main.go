// A gRPC server that is not the lab's: greeter.proto, with reflection. Its answers name it in the header
// x-served-by. `own-service NAME` prints its port and serves until its standard input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	anything   = ".google.protobuf.Struct"
	greeting   = ".google.protobuf.StringValue"
	howMany    = ".google.protobuf.Int32Value"
	ofAnything = "google/protobuf/struct.proto"
	ofValues   = "google/protobuf/wrappers.proto"
)

var name = os.Args[1]

func method(name, in, out string, asks, answers bool) *descriptorpb.MethodDescriptorProto {
	return &descriptorpb.MethodDescriptorProto{
		Name: proto.String(name), InputType: proto.String(in), OutputType: proto.String(out),
		ClientStreaming: proto.Bool(asks), ServerStreaming: proto.Bool(answers),
	}
}

// register adds greeter.proto to what reflection shows.
func register() {
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("greeter.proto"), Package: proto.String("greeter"), Syntax: proto.String("proto3"),
		Dependency: []string{ofAnything, ofValues},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("Greeter"),
			Method: []*descriptorpb.MethodDescriptorProto{
				method("Greet", anything, greeting, false, false),
				method("Greetings", howMany, greeting, false, true),
				method("GreetAll", anything, greeting, true, false),
			},
		}},
	}, protoregistry.GlobalFiles)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(file)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func greet(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	asked := new(structpb.Struct)
	if err := decode(asked); err != nil {
		return nil, err
	}
	grpc.SetHeader(ctx, metadata.Pairs("x-served-by", name))
	time.Sleep(time.Millisecond)
	return wrapperspb.String("Hello " + asked.Fields["name"].GetStringValue()), nil
}

func greetings(_ any, stream grpc.ServerStream) error {
	asked := new(wrapperspb.Int32Value)
	if err := stream.RecvMsg(asked); err != nil {
		return err
	}
	stream.SetTrailer(metadata.Pairs("x-served-by", name))
	for number := range asked.Value {
		if err := stream.SendMsg(wrapperspb.String(fmt.Sprintf("Hello %d", number))); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	register()
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "greeter.Greeter",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Greet", Handler: greet}},
		Streams:     []grpc.StreamDesc{{StreamName: "Greetings", Handler: greetings, ServerStreams: true}},
		Metadata:    "greeter.proto",
	}, struct{}{})
	reflection.Register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go server.Serve(listener)
	io.Copy(io.Discard, os.Stdin)
	server.Stop()
}
