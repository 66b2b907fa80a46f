// Threads that go through the same phases together.
//
// A phase has as many shares as the team has, and ends for everybody when all of them are done. Whatever share no other
// thread has begun by the time that this one is free, it does itself: so that nobody ever waits for a thread that does
// not come, only for one that is at work. Who comes late passes through the phases that are over. Who does a share has no
// influence on what comes out: shares depend on their number alone.

#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

#include "product.h"

namespace rnn_jax {

// Waits, first awake: a phase takes microseconds, and to wake a thread takes as long. Then it sleeps, until it is told
// that something has changed.
class Waiting {
 public:
  template <class Condition>
  void until(Condition&& condition) {
    for (int spins = 0; spins < 2000; ++spins) {
      if (condition()) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("isb");  // which takes about as long as x86's pause; most take yield for nothing
#endif
    }
    std::unique_lock<std::mutex> lock(mutex_);
    ++asleep_;
    changed_.wait(lock, condition);
    --asleep_;
  }

  // What `condition` reads has been written before, by an atomic in sequential order.
  void tell() {
    if (asleep_ == 0) return;
    std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_all();
  }

 private:
  std::atomic<int> asleep_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

class Team {
 public:
  explicit Team(int shares) : shares_(shares), states_(new State[shares]) {}

  int shares() const { return shares_; }

  // Does what is to be done of a phase: work(share). `home` is the share to begin with.
  template <class Work>
  void work_on(int64_t number, int home, Work&& work) {
    for (int i = 0; i < shares_; ++i) {
      int index = (home + i) % shares_;
      int64_t begun = number;
      if (states_[index].begun.load(std::memory_order_relaxed) != number ||
          !states_[index].begun.compare_exchange_strong(begun, number + 1))
        continue;
      work(Share{index, shares_});
      states_[index].done = number + 1;
      waiting_.tell();
    }
  }

  void wait_for(int64_t number) {
    for (int i = 0; i < shares_; ++i)
      waiting_.until([&] { return states_[i].done > number; });
  }

 private:
  struct alignas(128) State {  // of a share: how many phases of it have been begun, and done
    std::atomic<int64_t> begun{0}, done{0};
  };

  int shares_;
  std::unique_ptr<State[]> states_;
  Waiting waiting_;
};

// A thread in a team, or on its own.
class Member {
 public:
  Member() = default;
  Member(Team* team, int home) : team_(team), home_(home) {}

  // Calls work(share) for shares that are left, and waits for the others.
  template <class Work>
  void phase(Work&& work) {
    if (!team_) return work(Share{0, 1});
    team_->work_on(number_, home_, work);
    team_->wait_for(number_++);
  }

  // The last phase: only the thread that called has to see its end.
  template <class Work>
  void last_phase(Work&& work) {
    if (!team_ || home_ == 0) return phase(work);
    team_->work_on(number_, home_, work);
  }

 private:
  Team* team_ = nullptr;
  int home_ = 0;
  int64_t number_ = 0;
};

// Runs program(member) on the calling thread and on those that `schedule` finds for it.
template <class Schedule, class Program>
void together(int shares, Schedule&& schedule, Program program) {
  struct Shared {
    Team team;
    Program program;
    std::atomic<int> inside{1};  // once it is 0 nobody comes in any more
    Waiting waiting{};

    Shared(int shares, Program&& program) : team(shares), program(std::move(program)) {}
  };
  auto shared = std::make_shared<Shared>(shares, std::move(program));
  for (int home = 1; home < shares; ++home)
    schedule([shared, home] {
      int inside = shared->inside;
      while (inside > 0)
        if (shared->inside.compare_exchange_weak(inside, inside + 1)) {
          Member member(&shared->team, home);
          shared->program(member);
          --shared->inside;
          shared->waiting.tell();
          return;
        }
    });
  Member member(&shared->team, 0);
  shared->program(member);
  --shared->inside;
  shared->waiting.until([&] { return shared->inside == 0; });
}

}  // namespace rnn_jax
