// The contexts of the process, their workspaces, and the exchange of pools.
#include "engine/context.h"

namespace coss {

Context::~Context() {
  state_.reset();
  if (workspace_) pool_->give(workspace_);
}

void* Context::workspace(size_t bytes) {
  if (bytes > workspace_bytes_) {
    if (workspace_) pool_->give(std::exchange(workspace_, nullptr));
    workspace_bytes_ = 0;  // take() may throw
    workspace_ = pool_->take(bytes);
    workspace_bytes_ = bytes;
  }
  return workspace_;
}

PoolScope::Memory::~Memory() {
  if (workspace) pool->give(workspace);
}

void PoolScope::exchange() {
  std::swap(ctx_.pool_, memory_.pool);
  std::swap(ctx_.workspace_, memory_.workspace);
  std::swap(ctx_.workspace_bytes_, memory_.workspace_bytes);
}

Context& context(Device device) {
  // Leaked on purpose: tensors with static lifetime may outlive any order of destruction.
  static Context* contexts[] = {new Context(Device::cpu), new Context(Device::cuda), new Context(Device::reference),
                                new Context(Device::dry)};
  return *contexts[size_t(device)];
}

}  // namespace coss
