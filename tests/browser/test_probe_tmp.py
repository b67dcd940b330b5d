def test_probe(own_window, own_site):
    from appliance.model.run_state import Status
    w=own_window; w.login()
    run = own_site.run("nightly", Status.RUNNING, b"x\n")
    w.open("/p/website/nightly/1")
    js="const n=document.querySelector('main noscript'); return [n.outerHTML, n.childNodes[0].nodeType, n.checkVisibility(), getComputedStyle(n).display, document.querySelector('main').innerText.includes('loads again'), getComputedStyle(n.firstChild.nodeType==1?n.firstChild:n).display]"
    print(w.driver.execute_script(js))
    own_site.parts.runs.abort(run.id,"ada")
    w.wait(lambda: "asked to abort" in w.find("main").text)
    print(w.driver.execute_script(js))
    import pathlib; w.picture(pathlib.Path("/tmp/pages"),"probe")
