"""tf2_ros over real DDS: what a listener hears, waiting lookups, futures, sim time, the action."""

import os
import subprocess
import sys
import threading
import time as wall

import pytest
import rclpy
import yaml
from geometry_msgs.msg import TransformStamped
from rclpy.action import ActionServer
from rclpy.duration import Duration
from rclpy.executors import MultiThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, ReliabilityPolicy
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from tf2_msgs.action import LookupTransform
from tf2_msgs.msg import TF2Error
from tf2_msgs.srv import FrameGraph
from tf2_ros import (
    Buffer,
    BufferClient,
    BufferInterface,
    ExtrapolationException,
    LookupException,
    NotImplementedException,
    StaticTransformBroadcaster,
    StaticTransformListener,
    TimeoutException,
    TransformBroadcaster,
    TransformException,
    TransformListener,
)

DOMAIN = 1 + os.getpid() % 100


def transform(parent, child, seconds=1.0, x=0.0):
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp = Time(nanoseconds=round(seconds * 1e9)).to_msg()
    message.transform.translation.x = x
    message.transform.rotation.w = 1.0
    return message


def wait_until(condition, seconds=10.0):
    deadline = wall.monotonic() + seconds
    while not condition():
        assert wall.monotonic() < deadline, "the condition did not come true in time"
        wall.sleep(0.005)


class Ros:
    """Nodes in a context of their own, spinning in a thread."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.executor = MultiThreadedExecutor(num_threads=3, context=self.context)
        self.nodes = []
        self.thread = threading.Thread(target=self._spin)
        self.thread.start()

    def node(self, name, spin=True, **options):
        node = rclpy.create_node(name, context=self.context, **options)
        self.nodes.append(node)
        if spin:
            self.executor.add_node(node)
        return node

    def _spin(self):
        while self.context.ok():
            self.executor.spin_once(timeout_sec=0.1)

    def close(self):
        rclpy.shutdown(context=self.context)
        self.thread.join()
        self.executor.shutdown()
        for node in self.nodes:
            node.destroy_node()


@pytest.fixture
def ros():
    ros = Ros()
    yield ros
    ros.close()


def test_a_listener_hears_moving_and_static_frames_as_they_were_sent(ros):
    buffer = Buffer()
    TransformListener(buffer, ros.node("listener"))
    sender = ros.node("sender")
    moving, static = TransformBroadcaster(sender), StaticTransformBroadcaster(sender)
    wait_until(lambda: moving.pub_tf.get_subscription_count() == 1)
    sent = [transform("map", "robot", 2.0, 42.0), transform("map", "other", 2.0, -3.14)]
    moving.sendTransform(sent)
    static.sendTransform(transform("robot", "camera", 7.0, 0.5))
    found = buffer.lookup_transform("map", "robot", Time(), Duration(seconds=10))
    assert found == sent[0]
    assert buffer.can_transform("robot", "camera", Time(), Duration(seconds=10))
    found = buffer.lookup_transform("other", "camera", Time(seconds=2))
    assert found.transform.translation.x == pytest.approx(42.0 + 3.14 + 0.5)


def test_a_late_joiner_receives_every_static_transform_in_its_newest_version(ros):
    broadcaster = StaticTransformBroadcaster(ros.node("sender"))
    broadcaster.sendTransform([transform("robot", "camera", x=1.0), transform("robot", "lidar")])
    broadcaster.sendTransform(transform("robot", "camera", x=2.0))
    broadcaster.sendTransform((transform("robot", "arm", x=3.0),))
    for listen in (TransformListener, StaticTransformListener):
        buffer = Buffer()
        listen(buffer, ros.node(f"late_{listen.__name__.lower()}"))
        for frame, x in (("camera", 2.0), ("lidar", 0.0), ("arm", 3.0)):
            found = buffer.lookup_transform("robot", frame, Time(), Duration(seconds=10))
            assert found.transform.translation.x == x


def test_quality_of_service_is_what_other_tf_nodes_expect(ros):
    node = ros.node("both")
    listener = TransformListener(Buffer(), node)
    endpoints = {
        "tf": (TransformBroadcaster(node).pub_tf, listener.tf_sub, 100, DurabilityPolicy.VOLATILE),
        "tf_static": (
            StaticTransformBroadcaster(node).pub_tf,
            listener.tf_static_sub,
            1,
            DurabilityPolicy.TRANSIENT_LOCAL,
        ),
    }
    for topic, (publisher, subscription, depth, durability) in endpoints.items():
        assert publisher.topic_name == subscription.topic_name == f"/{topic}"
        assert publisher.qos_profile.depth == depth
        assert subscription.qos_profile.depth == 100
        for qos in (publisher.qos_profile, subscription.qos_profile):
            assert qos.reliability == ReliabilityPolicy.RELIABLE
            assert qos.history == HistoryPolicy.KEEP_LAST
            assert qos.durability == durability


def test_topics_can_follow_the_namespace_or_be_renamed(ros):
    node = ros.node("spaced", namespace="/left")
    broadcaster = TransformBroadcaster(node, override_tf_topics_namespaces=True)
    listener = TransformListener(Buffer(), node, override_tf_topics_namespaces=True)
    assert broadcaster.pub_tf.topic_name == listener.tf_sub.topic_name == "/left/tf"
    renamed = TransformListener(Buffer(), node, tf_topic="/a", tf_static_topic="/b", qos=5)
    assert (renamed.tf_sub.topic_name, renamed.tf_static_sub.topic_name) == ("/a", "/b")
    assert renamed.tf_sub.qos_profile.depth == 5
    static_only = TransformListener(Buffer(), node, static_only=True)
    assert not hasattr(static_only, "tf_sub")


def test_unregister_stops_listening(ros):
    node, buffer = ros.node("listener"), Buffer()
    listener = TransformListener(buffer, node)
    broadcaster = TransformBroadcaster(ros.node("sender"))
    wait_until(lambda: broadcaster.pub_tf.get_subscription_count() == 1)
    listener.unregister()
    listener.unregister()
    wait_until(lambda: broadcaster.pub_tf.get_subscription_count() == 0)


def test_a_listener_with_its_own_thread_fills_the_buffer_during_a_callback(ros):
    node, buffer, found = ros.node("listener", spin=False), Buffer(), []
    listener = TransformListener(buffer, node, spin_thread=True)
    broadcaster = TransformBroadcaster(ros.node("sender"))
    wait_until(lambda: broadcaster.pub_tf.get_subscription_count() == 1)

    def callback():
        timer.cancel()
        found.append(buffer.can_transform("map", "robot", Time(), Duration(seconds=10)))

    timer = ros.nodes[-1].create_timer(0.01, callback)
    wall.sleep(0.1)
    broadcaster.sendTransform(transform("map", "robot"))
    wait_until(lambda: found)
    assert found == [True]
    assert listener.dedicated_listener_thread.is_alive()


def test_a_process_that_forgets_to_shut_down_still_ends():
    code = (
        "import rclpy, tf2_ros; rclpy.init(); b = tf2_ros.Buffer();"
        "l = tf2_ros.TransformListener(b, None, spin_thread=True); print('made', flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)},
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "made"), done.stderr


def test_a_waiting_lookup_returns_as_soon_as_data_arrives():
    buffer = Buffer()
    started = wall.monotonic()
    timer = threading.Timer(0.2, buffer.set_transform, (transform("map", "robot", x=5.0), "test"))
    timer.start()
    found = buffer.lookup_transform("map", "robot", Time(seconds=1), Duration(seconds=10))
    assert found.transform.translation.x == 5.0
    assert 0.15 < wall.monotonic() - started < 2.0


def test_a_lookup_that_waited_in_vain_raises_the_reason():
    buffer = Buffer()
    buffer.set_transform(transform("map", "robot"), "test")
    started = wall.monotonic()
    with pytest.raises(ExtrapolationException):
        buffer.lookup_transform("map", "robot", Time(seconds=9), Duration(seconds=0.2))
    assert 0.15 < wall.monotonic() - started < 2.0
    with pytest.raises(LookupException):
        buffer.lookup_transform("map", "mars", Time())
    possible, why = buffer.can_transform("map", "mars", Time(), return_debug_tuple=True)
    assert not possible
    assert '"mars"' in why
    ask = ("map", Time(seconds=1), "robot", Time(seconds=9), "map")
    assert not buffer.can_transform_full(*ask, Duration(seconds=0.05))
    assert buffer.can_transform_full(*ask, return_debug_tuple=True)[1]


def test_futures_complete_with_the_transform_or_can_be_given_up():
    buffer = Buffer()
    sent = transform("map", "robot", 1.0, 4.0)
    first = buffer.wait_for_transform_async("map", "robot", Time(seconds=1))
    full = buffer.wait_for_transform_full_async(
        "robot", Time(seconds=1), "map", Time(seconds=1), "map"
    )
    never = buffer.wait_for_transform_async("map", "mars", Time())
    assert not first.done()
    never.cancel()
    buffer.set_transform(sent, "test")
    assert first.result() == sent
    assert full.result().transform.translation.x == -4.0
    assert buffer.wait_for_transform_async("map", "robot", Time(seconds=1)).result() == sent
    assert not buffer._pending


def test_async_lookups_are_awaited_in_an_executor(ros):
    buffer = Buffer()

    async def ask():
        one = await buffer.lookup_transform_async("map", "robot", Time(seconds=1))
        two = await buffer.lookup_transform_full_async(
            "map", Time(seconds=1), "robot", Time(seconds=2), "map"
        )
        return one.transform.translation.x, two.transform.translation.x

    task = ros.executor.create_task(ask)
    wall.sleep(0.1)
    assert not task.done()
    buffer.set_transform(transform("map", "robot", 1.0, 1.0), "test")
    buffer.set_transform(transform("map", "robot", 2.0, 2.0), "test")
    wait_until(task.done)
    assert task.result() == (1.0, 2.0)


def test_a_clock_that_jumps_back_clears_what_moves(ros):
    node = ros.node("simulated", parameter_overrides=[Parameter("use_sim_time", value=True)])
    clock = ros.node("clock").create_publisher(Clock, "/clock", 10)
    buffer = Buffer(node=node)
    wait_until(lambda: clock.get_subscription_count() >= 1)

    def set_clock(seconds):
        clock.publish(Clock(clock=Time(seconds=seconds).to_msg()))
        wait_until(lambda: node.get_clock().now().nanoseconds == seconds * 10**9)

    set_clock(100)
    buffer.set_transform(transform("map", "robot", 100.0), "test")
    buffer.set_transform_static(transform("robot", "camera"), "test")
    set_clock(101)
    assert buffer.can_transform("map", "robot", Time())
    set_clock(5)
    wait_until(lambda: not buffer.can_transform("map", "robot", Time()))
    assert buffer.can_transform("robot", "camera", Time())
    buffer.set_transform(transform("map", "robot", 5.0), "test")
    assert buffer.can_transform("map", "robot", Time(seconds=5))


def test_the_frame_graph_service_answers_in_yaml(ros):
    buffer = Buffer(node=ros.node("server"))
    buffer.set_transform(transform("map", "robot"), "test")
    client = ros.node("client").create_client(FrameGraph, "tf2_frames")
    assert client.wait_for_service(timeout_sec=10.0)
    answer = client.call_async(FrameGraph.Request())
    wait_until(answer.done)
    assert yaml.safe_load(answer.result().frame_yaml)["robot"]["parent"] == "map"


def test_a_buffer_client_asks_the_action_and_gets_transforms_and_errors(ros):
    buffer = Buffer()
    buffer.set_transform(transform("map", "robot", 1.0, 4.0), "test")

    def execute(handle):
        goal, result = handle.request, LookupTransform.Result()
        try:
            if goal.advanced:
                result.transform = buffer.lookup_transform_full(
                    goal.target_frame, goal.target_time, goal.source_frame, goal.source_time,
                    goal.fixed_frame,
                )  # fmt: skip
            else:
                result.transform = buffer.lookup_transform(
                    goal.target_frame, goal.source_frame, goal.source_time
                )
        except LookupException as error:
            result.error = TF2Error(error=TF2Error.LOOKUP_ERROR, error_string=str(error))
        handle.succeed()
        return result

    node = ros.node("client")
    client = BufferClient(node, "tf_action", timeout_padding=0.2)
    with pytest.raises(TimeoutException, match="not ready"):
        client.lookup_transform("map", "robot", Time())
    server = ActionServer(ros.node("server"), LookupTransform, "tf_action", execute)
    found = client.lookup_transform("map", "robot", Time(), Duration(seconds=10))
    assert found.transform.translation.x == 4.0
    full = ("robot", Time(seconds=1), "map", Time(seconds=1), "map", Duration(seconds=10))
    assert client.lookup_transform_full(*full).transform.translation.x == -4.0
    with pytest.raises(LookupException, match='"mars"'):
        client.lookup_transform("map", "mars", Time(), Duration(seconds=10))
    assert client.can_transform("map", "robot", Time(), Duration(seconds=10))
    assert not client.can_transform("map", "mars", Time(), Duration(seconds=10))
    server.destroy()


def test_the_interface_alone_looks_nothing_up():
    with pytest.raises(NotImplementedException):
        BufferInterface().lookup_transform("a", "b", Time())
    assert issubclass(LookupException, TransformException)
