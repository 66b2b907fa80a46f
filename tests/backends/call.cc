// Calls a function of the library as XLA does, but in a process of its own, which an emulator can run:
//
//     call LIBRARY FUNCTION CELL REVERSE ARGUMENTS TYPE SIZE,SIZE,... TYPE SIZE,SIZE,... ...
//
// ARGUMENTS is their number, TYPE f32 or s32, of the arguments and then of the results. The arguments' elements come from
// stdin and the results' go to stdout.

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "xla/ffi/api/c_api.h"

namespace {

std::vector<std::thread> threads;

XLA_FFI_Error* schedule(XLA_FFI_ThreadPool_Schedule_Args* args) {
  threads.emplace_back(args->task, args->data);
  return nullptr;
}

XLA_FFI_Error* num_threads(XLA_FFI_ThreadPool_NumThreads_Args* args) {
  *args->num_threads = 3;
  return nullptr;
}

XLA_FFI_Error* fail(XLA_FFI_Error_Create_Args* args) {
  std::fprintf(stderr, "%s\n", args->message);
  std::exit(1);
}

struct Array {
  std::vector<int64_t> sizes;
  std::vector<float> elements;  // or integers: both have 4 bytes
  XLA_FFI_Buffer buffer;

  Array(const char* type, const char* shape) {
    int64_t count = 1;
    for (const char* at = shape; *at; at += *at == ',') {
      char* end;
      sizes.push_back(std::strtoll(at, &end, 10));
      count *= sizes.back();
      at = end;
    }
    elements.resize(count);
    XLA_FFI_DataType dtype = type == std::string("s32") ? XLA_FFI_DataType_S32 : XLA_FFI_DataType_F32;
    buffer = {XLA_FFI_Buffer_STRUCT_SIZE, nullptr, dtype, elements.data(), static_cast<int64_t>(sizes.size()), sizes.data()};
  }
};

}  // namespace

int main(int argc, char** argv) {
  void* library = dlopen(argv[1], RTLD_NOW);
  void* function = library ? dlsym(library, argv[2]) : nullptr;
  if (!function) return std::fprintf(stderr, "%s\n", dlerror()), 1;

  std::vector<Array> arrays;
  arrays.reserve(argc);
  for (int i = 6; i + 1 < argc; i += 2) arrays.emplace_back(argv[i], argv[i + 1]);
  std::vector<void*> buffers;
  for (Array& array : arrays) buffers.push_back(&array.buffer);
  int64_t count = std::atoi(argv[5]), results = buffers.size() - count;
  for (int64_t i = 0; i < count; ++i)
    if (std::fread(arrays[i].elements.data(), 4, arrays[i].elements.size(), stdin) != arrays[i].elements.size()) return 1;

  XLA_FFI_Api api = {XLA_FFI_Api_STRUCT_SIZE};
  api.XLA_FFI_ThreadPool_Schedule = schedule;
  api.XLA_FFI_ThreadPool_NumThreads = num_threads;
  api.XLA_FFI_Error_Create = fail;

  XLA_FFI_ByteSpan cell = {argv[3], std::strlen(argv[3])}, names[] = {{"cell", 4}, {"reverse", 7}};
  bool is_reverse = argv[4] == std::string("True");
  XLA_FFI_Scalar reverse = {XLA_FFI_DataType_PRED, &is_reverse};
  XLA_FFI_AttrType attribute_types[] = {XLA_FFI_AttrType_STRING, XLA_FFI_AttrType_SCALAR};
  XLA_FFI_ByteSpan* attribute_names[] = {&names[0], &names[1]};
  void* attributes[] = {&cell, &reverse};
  std::vector<XLA_FFI_ArgType> argument_types(count, XLA_FFI_ArgType_BUFFER);
  std::vector<XLA_FFI_RetType> result_types(results, XLA_FFI_RetType_BUFFER);

  XLA_FFI_CallFrame frame = {XLA_FFI_CallFrame_STRUCT_SIZE, nullptr, &api, nullptr, XLA_FFI_ExecutionStage_EXECUTE};
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, count, argument_types.data(), buffers.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, results, result_types.data(), buffers.data() + count};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE, nullptr, 2, attribute_types, attribute_names, attributes};
  reinterpret_cast<XLA_FFI_Handler*>(function)(&frame);

  for (std::thread& thread : threads) thread.join();
  for (size_t i = count; i < arrays.size(); ++i)
    std::fwrite(arrays[i].elements.data(), 4, arrays[i].elements.size(), stdout);
}
