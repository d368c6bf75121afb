// What tch does not offer: autocast to bfloat16, TF32, torch's version.
// Every function is total: no exception can leave it for the arguments the Rust side passes.
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <torch/torch.h>
#include <torch/version.h>

extern "C" {
// device: 0 CPU, 1 CUDA.
void lw_autocast_enter(int device) {
  auto d = device ? at::kCUDA : at::kCPU;
  at::autocast::set_autocast_dtype(d, at::kBFloat16);
  at::autocast::set_autocast_enabled(d, true);
  at::autocast::set_autocast_cache_enabled(true);
  at::autocast::increment_nesting();
}
void lw_autocast_exit(int device) {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device ? at::kCUDA : at::kCPU, false);
}
const char *lw_torch_version() { return TORCH_VERSION; }
void lw_allow_tf32(bool allow) {
  at::globalContext().setAllowTF32CuBLAS(allow);
  at::globalContext().setAllowTF32CuDNN(allow);
}
}
