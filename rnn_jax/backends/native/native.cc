// The loops as functions that XLA calls, see rnn_jax/backends/native/backend.py for what they are given.

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "backward.h"
#include "forward.h"
#include "step.h"
#include "team.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using Array = ffi::AnyBuffer;
using Result = ffi::Result<ffi::AnyBuffer>;

namespace rnn_jax {
namespace {

// Runs program(member) on the calling thread and as many of XLA's as there are other shares.
template <class Program>
void on_threads(const ffi::ThreadPool& const_pool, int shares, Program&& program) {
  ffi::ThreadPool pool = const_pool;
  together(shares, [&](std::function<void()> work) { pool.Schedule(std::move(work)); }, program);
}

Group all_sequences(const Array& lengths, const Sizes& sizes) {
  Group all{std::vector<int>(sizes.batch), lengths.typed_data<int32_t>()};
  std::iota(all.rows.begin(), all.rows.end(), 0);
  std::stable_sort(all.rows.begin(), all.rows.end(), [&](int a, int b) { return all.lengths[a] > all.lengths[b]; });
  return all;
}

// How the work is shared: every thread takes some sequences and waits for nobody, or all take some units of every
// sequence and wait for each other at every step.
struct Plan {
  int shares;
  bool by_units;
  std::vector<Group> groups;  // of sequences; all in one if by units
};

// A share of a step of fewer multiply-adds, 1 to 2 us, is not worth waiting for the others.
constexpr int64_t kWorthwhile = 1 << 16;

// By units where there are few sequences for a thread and the weights are many: from `units_per_sequence` units for each
// sequence of a thread on (measured: 128 forward, and 256 backward, where more goes from thread to thread).
Plan plan(const Array& lengths, const Sizes& sizes, int gates, int64_t units_per_sequence, const ffi::ThreadPool& pool) {
  int64_t threads = std::max<int64_t>(1, pool.num_threads()), batch = std::max<int64_t>(1, sizes.batch);
  int64_t by_sequences = std::min(threads, batch);
  int64_t by_units = std::min(threads, batch * gates * sizes.hidden * sizes.hidden / kWorthwhile);
  bool few = ceil_divide(batch, threads) * units_per_sequence <= sizes.hidden;
  Plan found{static_cast<int>(by_sequences), few && by_units > 1 && by_units >= by_sequences, {}};
  if (found.by_units) found.shares = static_cast<int>(by_units);
  const auto [order, of] = all_sequences(lengths, sizes);
  found.groups.assign(found.by_units ? 1 : by_sequences, Group{{}, of});
  // Those of one length in turn, neighbours to one thread: else every line of memory between two is shared.
  int64_t groups = found.groups.size();
  bool equal = sizes.batch > 0 && of[order.front()] == of[order.back()];
  for (int64_t i = 0; i < sizes.batch; ++i)
    found.groups[equal ? i * groups / sizes.batch : i % groups].rows.push_back(order[i]);
  return found;
}

// pack(share) for all shares, run(group, member) for all groups, finish(share) for all shares.
template <class Pack, class Run, class Finish>
void execute(const ffi::ThreadPool& pool, const Plan& plan, Pack&& pack, Run&& run, Finish&& finish) {
  on_threads(pool, plan.shares, [&](Member& member) {
    member.phase(pack);
    if (plan.by_units)
      run(0, member);
    else
      member.phase([&](Share share) {
        Member alone;
        run(share.index, alone);
      });
    member.last_phase(finish);
  });
}

const float* data(const Array& a) { return a.typed_data<float>(); }
float* data(Result& a) { return a->typed_data<float>(); }

Sizes sizes_of(const Array& xs, const Array& h0, bool reverse) {
  auto d = xs.dimensions();
  return Sizes{d[0], d[1], d[2], h0.dimensions()[1], reverse};
}

template <class Cell>
void forward(ffi::ThreadPool pool, bool reverse, const Array& xs, const Array& w_ih, const Array& w_hh, const Array& b,
             const Array& b_recurrent, const Array& h0, const Array& c0, const Array& lengths, Result& hs, Result& c,
             Result& saved) {
  Sizes s = sizes_of(xs, h0, reverse);
  in_large_pages(hs->untyped_data(), hs->size_bytes());
  in_large_pages(saved->untyped_data(), saved->size_bytes());
  if (Cell::kCell >= 0) std::copy_n(data(c0), s.batch * s.hidden, data(c));
  Vector* saved_vectors = saved->element_count() > 0 ? reinterpret_cast<Vector*>(data(saved)) : nullptr;
  if (s.steps == 1 && s.batch <= kFewSequences) {
    Step<Cell> step{s,           data(xs), data(w_ih), data(w_hh), data(b),
                    data(b_recurrent), data(h0), data(hs),   data(c),    saved_vectors};
    Group group = all_sequences(lengths, s);
    int64_t worthwhile = s.batch * Cell::kGates * s.hidden * s.hidden / kWorthwhile;
    int64_t shares = std::clamp<int64_t>(worthwhile, 1, std::max<int64_t>(1, pool.num_threads()));
    return on_threads(pool, static_cast<int>(shares), [&](Member& member) {
      member.last_phase([&](Share share) { step.run(group, share); });
    });
  }
  Forward<Cell> loop{s, data(xs), data(h0), data(hs), data(c), saved_vectors};
  Plan found = plan(lengths, s, Cell::kGates, 128, pool);
  execute(
      pool, found, [&](Share share) { loop.pack(data(w_ih), data(w_hh), data(b), data(b_recurrent), share); },
      [&](int group, Member& member) { loop.run(found.groups[group], member); }, [](Share) {});
}

template <class Cell>
void backward(ffi::ThreadPool pool, bool reverse, const Array& xs, const Array& w_ih, const Array& w_hh,
              const Array& h0, const Array& c0, const Array& lengths, const Array& hs, const Array& saved,
              const Array& dys, const Array& dh_final, const Array& dc_final, Result& dw_ih, Result& dw_hh, Result& db,
              Result& dxs, Result& dh, Result& dc) {
  Sizes s = sizes_of(xs, h0, reverse);
  for (Result* out : {&dxs, &dw_ih, &dw_hh}) in_large_pages((*out)->untyped_data(), (*out)->size_bytes());
  std::copy_n(data(dh_final), s.batch * s.hidden, data(dh));
  if (Cell::kCell >= 0) std::copy_n(data(dc_final), s.batch * s.hidden, data(dc));
  Plan found = plan(lengths, s, Cell::kGates, 256, pool);
  Backward<Cell> loop{s,          data(xs),    data(w_ih),  data(w_hh), data(h0),           data(c0),
                      data(hs),   data(dys),   reinterpret_cast<const Vector*>(data(saved)), data(dxs),
                      data(dh),   data(dc),    data(dw_ih), data(dw_hh), data(db),          found.groups.size()};
  std::vector<typename Backward<Cell>::Work> works;
  for (const Group& group : found.groups) works.push_back(loop.work(works.size(), group.rows.size()));
  execute(
      pool, found, [&](Share share) { loop.pack(share); },
      [&](int group, Member& member) { loop.run(found.groups[group], works[group], member); },
      [&](Share share) { loop.add_up(share); });
}

// Calls f(cell) for the cell of that name.
template <class F>
ffi::Error with_cell(std::string_view name, F&& f) {
  if (name == "lstm") return f(Lstm()), ffi::Error::Success();
  if (name == "gru") return f(Gru()), ffi::Error::Success();
  if (name == "rnn") return f(Rnn<Activation::kTanh>()), ffi::Error::Success();
  if (name == "rnn_relu") return f(Rnn<Activation::kRelu>()), ffi::Error::Success();
  if (name == "rnn_identity") return f(Rnn<Activation::kIdentity>()), ffi::Error::Success();
  return ffi::Error::InvalidArgument("unknown cell");
}

ffi::Error Forward_(ffi::ThreadPool pool, std::string_view cell, bool reverse, Array xs, Array w_ih, Array w_hh,
                    Array b, Array b_recurrent, Array h0, Array c0, Array lengths, Result hs, Result c, Result saved) {
  return with_cell(cell, [&](auto kind) {
    forward<decltype(kind)>(pool, reverse, xs, w_ih, w_hh, b, b_recurrent, h0, c0, lengths, hs, c, saved);
  });
}

ffi::Error Backward_(ffi::ThreadPool pool, std::string_view cell, bool reverse, Array xs, Array w_ih, Array w_hh,
                     Array h0, Array c0, Array lengths, Array hs, Array saved, Array dys, Array dh_final,
                     Array dc_final, Result dw_ih, Result dw_hh, Result db, Result dxs, Result dh, Result dc) {
  return with_cell(cell, [&](auto kind) {
    backward<decltype(kind)>(pool, reverse, xs, w_ih, w_hh, h0, c0, lengths, hs, saved, dys, dh_final, dc_final, dw_ih,
                             dw_hh, db, dxs, dh, dc);
  });
}

}  // namespace
}  // namespace rnn_jax

extern "C" int rnn_jax_width() { return rnn_jax::kWidth; }
extern "C" const char* rnn_jax_instruction_set() { return rnn_jax::kInstructionSet; }

XLA_FFI_DEFINE_HANDLER_SYMBOL(rnn_jax_forward, rnn_jax::Forward_,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<std::string_view>("cell")
                                  .Attr<bool>("reverse")
                                  .Arg<Array>()   // xs [T, B, I]
                                  .Arg<Array>()   // w_ih [I, G*H]
                                  .Arg<Array>()   // w_hh [H, G*H]
                                  .Arg<Array>()   // b [G*H]
                                  .Arg<Array>()   // b_recurrent [G*H], zero but for a GRU
                                  .Arg<Array>()   // h0 [B, H]
                                  .Arg<Array>()   // c0 [B, H]
                                  .Arg<Array>()   // lengths [B] int32
                                  .Ret<Array>()   // hs [T, B, H]
                                  .Ret<Array>()   // c [B, H]
                                  .Ret<Array>()); // saved [T, B, blocks * kSaved * kWidth], or empty

XLA_FFI_DEFINE_HANDLER_SYMBOL(rnn_jax_backward, rnn_jax::Backward_,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<std::string_view>("cell")
                                  .Attr<bool>("reverse")
                                  .Arg<Array>()   // xs [T, B, I]
                                  .Arg<Array>()   // w_ih [I, G*H]
                                  .Arg<Array>()   // w_hh [H, G*H]
                                  .Arg<Array>()   // h0 [B, H]
                                  .Arg<Array>()   // c0 [B, H]
                                  .Arg<Array>()   // lengths [B] int32
                                  .Arg<Array>()   // hs [T, B, H]
                                  .Arg<Array>()   // saved
                                  .Arg<Array>()   // dys [T, B, H]
                                  .Arg<Array>()   // dL/d(final h) [B, H]
                                  .Arg<Array>()   // dL/d(final c) [B, H]
                                  .Ret<Array>()   // dL/dw_ih
                                  .Ret<Array>()   // dL/dw_hh
                                  .Ret<Array>()   // dL/db [G*H], of a GRU [4*H], which begins with dL/db_hn
                                  .Ret<Array>()   // dL/dxs [T, B, I]
                                  .Ret<Array>()   // dL/dh0 [B, H]
                                  .Ret<Array>()); // dL/dc0 [B, H]
