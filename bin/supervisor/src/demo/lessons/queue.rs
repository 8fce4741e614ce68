//! A bounded queue: put waits when it is full, get when it is empty.

use std::io;

use ipc::{Acknowledge, GetError, Queue, QueueOptions};

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say, told};
use crate::demo::lessons::counting::now_us;
use crate::demo::stage::{Stage, Taught, until};
use crate::demo::supervised::state;
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "queue",
    teaches: Text {
        en: "messages through a bounded queue: put waits when full, get when empty",
        zh: "通过有界队列传消息：满时放入等待，空时取出等待",
    },
    steps: STEPS,
    teach,
    part,
};

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Make a queue with two places, and let a producer put two messages.",
            zh: "建立一个有两个位置的队列，让生产者放入两条消息。",
        },
        call: "> Queue::create_anonymous(\"jobs\", capacity 2)\n> queue.put(\"1\"); queue.put(\"2\")    # in the producer, pid {producer_pid}",
        seen: Text {
            en: "both puts came back at once; {length} messages wait, full: {is_full}.",
            zh: "两次放入都立即返回；{length} 条消息在等待，已满：{is_full}。",
        },
        means: Text {
            en: "the queue lies in memory that both processes share. A put does not wait for a reader as long as there is room.",
            zh: "队列位于两个进程共享的内存中。只要有空位，放入就不必等待读者。",
        },
    },
    Step {
        does: Text {
            en: "The producer puts a third message; when it is asleep, take the first.",
            zh: "生产者放入第三条消息；等它睡下之后，取出第一条。",
        },
        call: "> queue.put(\"3\")                  # in the producer: state {producer_state}\n> queue.get()                     # in the parent",
        seen: Text {
            en: "{length_while_waiting} messages while it waits; the parent gets {first}, and the put comes back {put_after_us} us after that get began.",
            zh: "它等待时队列中有 {length_while_waiting} 条消息；父进程取到 {first}，放入在那次取出开始后 {put_after_us} 微秒才返回。",
        },
        means: Text {
            en: "put waits when the queue is full. So a fast producer goes at the pace of the consumer, and memory does not grow.",
            zh: "队列已满时放入会等待。于是快的生产者跟随消费者的节奏，内存也不会膨胀。",
        },
    },
    Step {
        does: Text {
            en: "Take what is left; let a consumer get from the empty queue; when it is asleep, put one message.",
            zh: "取出剩下的消息；让消费者从空队列取；等它睡下之后，放入一条消息。",
        },
        call: "> queue.get(); queue.get()         # in the parent\n> queue.get()                     # in the consumer, pid {consumer_pid}: state {consumer_state}\n> queue.put(\"4\")                  # in the parent",
        seen: Text {
            en: "the parent got {rest}; the consumer got {fourth}, {get_after_us} us after the put began.",
            zh: "父进程取到 {rest}；消费者取到 {fourth}，是在放入开始后 {get_after_us} 微秒。",
        },
        means: Text {
            en: "get waits when the queue is empty, and messages come in the order they went in. Nobody has to look again and again.",
            zh: "队列为空时取出会等待，消息先进先出。没有人需要一再查看。",
        },
    },
    Step {
        does: Text {
            en: "Let the consumer wait once more, and close the queue.",
            zh: "让消费者再等一次，然后关闭队列。",
        },
        call: "> queue.close()",
        seen: Text {
            en: "the consumer's get says: {closed}; a put says: {put_after_close}.",
            zh: "消费者的取出说：{closed}；放入说：{put_after_close}。",
        },
        means: Text {
            en: "closing ends every wait, after what is left was taken: no special last message is needed. Under a supervisor a queue closes by itself when its last producer has ended. In a shell: supervisor queue put jobs TEXT, supervisor queue get jobs.",
            zh: "关闭会在剩余消息取完之后结束所有等待：不需要特殊的最后一条消息。在 supervisor 之下，最后一个生产者结束后队列自动关闭。在 shell 里：supervisor queue put jobs TEXT，supervisor queue get jobs。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let options = QueueOptions { capacity: Some(2), max_message: 1024, ..Default::default() };
    let queue = Queue::create_anonymous("jobs", &options).map_err(io::Error::other)?;
    // What is got here is done with at once: the consumer is not to be kept waiting for whether it comes back.
    queue.set_acknowledge(Acknowledge::AtOnce);
    let path = queue.descriptor_path().to_string_lossy().into_owned();

    let mut producer = Actor::of(LESSON.name, "producer", &[&path])?;
    producer.hear_number()?;
    producer.hear_number()?;
    stage.saw("producer_pid", producer.pid());
    stage.saw("length", queue.len());
    stage.saw("is_full", queue.is_full());
    stage.step(queue.len() == 2 && queue.is_full())?;

    producer.tell("one more")?;
    producer.hear()?;
    let asleep = until("the producer sleeps", || Ok(state(producer.pid()).filter(|state| *state == 'S')))?;
    let length = queue.len();
    let began = now_us()?;
    let first = text(queue.get())?;
    let after = producer.hear_number()? - began;
    stage.saw("producer_state", asleep.to_string());
    stage.saw("length_while_waiting", length);
    stage.saw("first", first.clone());
    stage.saw("put_after_us", after);
    // Only this process takes: a put that did not wait would have come back before.
    stage.step(length == 2 && first == "1" && after >= 0)?;
    producer.join()?;

    let rest = [text(queue.get())?, text(queue.get())?];
    let mut consumer = Actor::of(LESSON.name, "consumer", &[&path])?;
    consumer.hear()?;
    let asleep = until("the consumer sleeps", || Ok(state(consumer.pid()).filter(|state| *state == 'S')))?;
    let began = now_us()?;
    queue.put(b"4").map_err(io::Error::other)?;
    let (after, fourth) = (consumer.hear_number()? - began, consumer.hear()?);
    stage.saw("consumer_pid", consumer.pid());
    stage.saw("consumer_state", asleep.to_string());
    stage.saw("rest", rest.to_vec());
    stage.saw("fourth", fourth.clone());
    stage.saw("get_after_us", after);
    stage.step(rest == ["2", "3"] && fourth == "4" && after >= 0)?;

    consumer.hear()?;
    until("the consumer sleeps", || Ok(state(consumer.pid()).filter(|state| *state == 'S')))?;
    queue.close();
    let closed = consumer.hear()?;
    consumer.join()?;
    let refused = queue.put(b"5");
    stage.saw("closed", closed.clone());
    stage.saw("put_after_close", refused.map_or_else(|error| error.to_string(), |()| "-".to_owned()));
    stage.step(closed == GetError::Closed.to_string() && refused == Err(ipc::PutError::Closed))
}

fn text(message: Result<Vec<u8>, GetError>) -> io::Result<String> {
    message.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(io::Error::other)
}

fn part(part: &str, arguments: &[String]) -> io::Result<()> {
    let queue = Queue::open(arguments.first().map_or("", String::as_str)).map_err(io::Error::other)?;
    if part == "producer" {
        for number in 1..=3 {
            if number == 3 {
                told()?;
                say("putting")?;
            }
            queue.put(number.to_string().as_bytes()).map_err(io::Error::other)?;
            say(now_us()?)?;
        }
        return Ok(());
    }
    loop {
        say("getting")?;
        match queue.get() {
            Ok(message) => {
                say(now_us()?)?;
                say(String::from_utf8_lossy(&message))?;
            }
            Err(refusal) => return say(refusal),
        }
    }
}
