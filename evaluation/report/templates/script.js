(() => {
  const form = document.getElementById("choose");
  if (!form) return;
  const articles = [...document.querySelectorAll("#scenarios article")];
  const { scenario, controller } = form.elements;
  const show = () => {
    for (const article of articles) {
      article.hidden = scenario.value !== "" && article.id !== scenario.value;
      for (const part of article.querySelectorAll("details")) {
        const mine = part.dataset.controller === controller.value;
        part.hidden = controller.value !== "" && !mine;
        if (mine) part.open = true;
      }
    }
  };
  const follow = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    if (articles.some((article) => article.id === id)) {
      scenario.value = id;
      show();
      document.getElementById(id).scrollIntoView();
    }
  };
  form.hidden = false;
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", follow);
  show();
  follow();
})();
