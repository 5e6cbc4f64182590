// What tests ask of the stand-in for libcuda. "Memory of a GPU" is memory that the process cannot
// touch: whoever dereferences a pointer to it on the host is ended by the system. The stand-in's
// kernels, and tests, reach it at another address.
#pragma once

#include <cstddef>

extern "C" {

// The address at which the host reaches what lies at `device` in cuMemAlloc's memory.
void* fake_driver_host_view(const void* device);
// What is allocated next begins there: room without access that nobody else uses.
void fake_driver_place_next(const void* begin);
// Memory that host and GPU reach, as cudaMallocManaged gives.
void fake_driver_set_managed_memory(const void* begin, size_t bytes);

// Streams run what they are given in order, each in a thread of its own.
void* fake_driver_create_stream(void);
void fake_driver_destroy_stream(void* stream);  // waits
void fake_driver_synchronize(void* stream);     // null: the default stream
// Keeps the stream from going on until it is called again with 0.
void fake_driver_hold(void* stream, int held);
// Kernels, and graphs of cuGraphLaunch, launched so far. What a graph replays is counted when it is
// captured.
int fake_driver_launches(void);
int fake_driver_graph_launches(void);
// The so-many-th cuGraphLaunch from now on fails; 0: none does.
void fake_driver_fail_graph_launch(int number);
// How many GPUs are counted, 1 at first; all are the same one.
void fake_driver_set_gpus(int count);

// What is put into a stream from here on is captured, and run by each replay.
void fake_driver_begin_capture(void* stream);
void* fake_driver_end_capture(void* stream);
void fake_driver_replay(void* graph, void* stream);
void fake_driver_destroy_graph(void* graph);

}  // extern "C"
